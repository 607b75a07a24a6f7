"""The examples of docs/protocol.md are messages that a server sends: each is played, and every field shown must be there."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.harness.decks import drafts, make, move
from tools.harness.http import Api, Person, ok

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ANY = "…"


def example(after: str) -> list[tuple[str, dict[str, Any]]]:
    """The first text block behind these words: ``->`` or ``<-``, and the message. ``…`` stands for anything."""
    block = PAGE.partition(after)[2].partition("```text\n")[2].partition("\n```")[0]
    found = []
    for line in block.splitlines():
        text = line[3:].replace(f",{ANY}}}", "}").replace(f"{{{ANY}}}", f'"{ANY}"').replace(f",{ANY},", ",")
        found.append((line[:2], json.loads(text)))
    assert found, after
    return found


def agrees(shown: Any, real: Any) -> bool:
    if shown == ANY:
        return real is not None
    if isinstance(shown, dict):
        return isinstance(real, dict) and all(
            name in real and agrees(value, real[name]) for name, value in shown.items()
        )
    return bool(shown == real) or (isinstance(shown, int) and isinstance(real, int))


async def test_following_a_deck(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as sock:
        for direction, shown in example("**Following a deck.**"):
            if direction == "->":
                ids = {"code": deck["code"], "deckId": deck["id"]}
                await sock.send({name: ids.get(name, value) for name, value in shown.items()})
                continue
            if shown["type"] == "DECK_CHANGED":
                await move(api, owner, deck, polls[1])
            real = await sock.expect(shown["type"])
            if "deck" in shown:
                shown["deck"].pop("code", None)
            assert agrees(shown, real), (shown, real)


async def test_a_paused_poll(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True)
    ok(await api.post(f"/polls/{poll['id']}/pause", None, owner))
    (sent, (_, shown)) = example("### Pausing")
    async with ws(guest) as sock:
        ids = {"pollId": poll["id"], "optionId": poll["options"][0]["id"]}
        await sock.send(sent[1] | ids)
        real = await sock.expect("ERROR")
        assert agrees(shown, real), (shown, real)


async def test_moving_a_deck(api: Api, owner: Person) -> None:
    """The block behind "**Moving.**" is a call and its answer."""
    block = PAGE.partition("**Moving.**")[2].partition("```text\n")[2].partition("\n```")[0]
    call, answer = block.splitlines()
    body = json.loads(call[call.index("{") :])
    shown = json.loads(answer[4:].replace(f",{ANY}}}", "}").replace(f"{{{ANY}}}", f'"{ANY}"'))
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    deck = (await move(api, owner, deck, polls[0]))["deck"]
    real = await move(
        api, owner, deck, polls[1], **(body | {"pollId": polls[1]["id"], "version": deck["version"]})
    )
    shown["deck"].pop("code")
    assert agrees(shown, real), (shown, real)


async def test_marking_the_right_answer(api: Api, owner: Person) -> None:
    block = PAGE.partition("### Right answers")[2].partition("```json\n")[2].partition("\n```")[0]
    poll = ok(await api.post("/polls", json.loads(block), owner), 201)["poll"]
    right = [option["id"] for option in poll["options"] if option["label"] == "Paris"]
    assert poll["correctOptionIds"] == right
