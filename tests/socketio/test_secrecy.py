"""Right answers: before they are revealed, no byte that others than the owner get depends on which option is correct."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from tests.conftest import Open
from tests.socketio.conftest import Connect
from tools.harness.decks import make, move
from tools.harness.http import Api, Person, ok
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio

NAMES = re.compile(
    rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|"viewers":\d+|"connectionId":"[^"]+"|retry: \d+|"instance":"[^"]+"'
)
UPDATE = re.compile("poll_update|deck_update", re.IGNORECASE)
PRIVATE_HEADERS = {"date", "x-request-id"}


class Life:
    """What everybody but the owner got in the life of one poll. ``correct``: the position of the right option, or none."""

    def __init__(self, api: Api, owner: Person, correct: int | None) -> None:
        self.api, self.owner, self.correct = api, owner, correct
        self.names: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def options(self, correct: int | None) -> list[dict[str, Any]]:
        marks = [{} if correct is None else {"correct": number == correct} for number in range(3)]
        return [{"label": label} | mark for label, mark in zip("ABC", marks, strict=True)]

    async def mark(self, poll: dict[str, Any], correct: int | None) -> None:
        body = {"options": self.options(correct if self.correct is not None else None)}
        ok(await self.api.patch(f"/polls/{poll['id']}", body, self.owner))

    def keep(self, who: str, data: bytes) -> None:
        """As they came, but for names and times. Updates of viewers may come more or less often."""
        text = NAMES.sub(b"*", data).decode()
        for number, name in enumerate(self.names):
            text = text.replace(name, f"<{number}>")
        kept = self.texts.setdefault(who, [])
        if not UPDATE.search(text) or text not in kept:
            kept.append(text)

    async def look(
        self, poll: dict[str, Any], deck: dict[str, Any], people: dict[str, Person | None]
    ) -> None:
        paths = [f"/polls/{poll['id']}{path}" for path in ("", "/results", "/results.csv")]
        paths += [f"/join/{poll['code']}", f"/decks/{deck['id']}", f"/join/{deck['code']}", "/polls"]
        calls = [("GET", path) for path in paths]
        calls += [("POST", f"/polls/{poll['id']}/{call}") for call in ("reveal", "again", "close")]
        for who, person in people.items():
            for method, path in calls:
                answer = await self.api.call(method, path, None, person)
                headers = {k: v for k, v in answer.headers.items() if k not in PRIVATE_HEADERS}
                line = f"{method} {path} {answer.status_code} {json.dumps(headers)} "
                self.keep(f"http {who}", line.encode() + answer.content)


async def read(life: Life, who: str, api: Api, path: str) -> None:
    """A stream, event by event, until it is cancelled."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
        http.stream("GET", api.server.url() + path) as response,
    ):
        data = b""
        async for chunk in response.aiter_bytes():
            *events, data = (data + chunk).split(b"\n\n")
            for event in events:
                if event != b":":
                    life.keep(who, event)


async def live(api: Api, owner: Person, ws: Open, sio: Connect, correct: int | None) -> dict[str, list[str]]:
    life = Life(api, owner, correct)
    fields = {"options": life.options(correct), "guests": True, "draft": True, "allowChange": True}
    poll = await api.poll(owner, **fields)
    deck = await make(api, owner, [poll])
    ids = option_ids(poll)
    life.names = [poll["id"], poll["code"], deck["id"], deck["code"], *ids]
    voter, other = await api.guests(2)
    people = {"stranger": None, "voter": voter}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sockets = {
            "stranger": await enter(ws()),
            "voter": await enter(ws(voter)),
            "owner": await enter(ws(owner)),
        }
        clients = {"stranger": await enter(sio()), "voter": await enter(sio(other))}
        for sock in sockets.values():
            await sock.join_deck(deck)
        for client in clients.values():
            await client.ask("join_deck", {"deckId": deck["id"]})
        for sock in sockets.values():
            await sock.expect("DECK_UPDATE", viewers=5)
        for client in clients.values():
            await client.event("deck_update", viewers=5)
        await move(api, owner, deck, poll)
        streams = [
            asyncio.create_task(read(life, f"stream of {kind}", api, f"/{kind}/{one['id']}/stream"))
            for kind, one in (("polls", poll), ("decks", deck))
        ]

        async def all_show(**match: Any) -> None:
            """Also the streams: a tally that some of them skip would make two lives differ."""
            for sock in sockets.values():
                await sock.shows(poll, **match)
            for client in clients.values():
                await client.shows(poll, **match)
            sought = [f'"{name}":{json.dumps(value)}' for name, value in match.items()]
            for kind in ("polls", "decks"):
                await eventually(partial(seen, f"stream of {kind}", sought), bool)

        async def seen(who: str, sought: list[str]) -> bool:
            return any(all(part in text for part in sought) for text in life.texts.get(who, []))

        for sock in sockets.values():
            await sock.expect("DECK_CHANGED")
            await sock.viewers(poll, 7)
            await sock.join(poll)
        for client in clients.values():
            await client.event("deck_changed")
            await client.join(poll)
        await life.look(poll, deck, people)
        await life.mark(poll, 2)
        (await sockets["voter"].vote(poll["id"], ids[:1], id="a")).fresh()
        await all_show(voters=1)
        (await clients["voter"].vote(poll["id"], ids[1:2], id="b")).fresh()
        await all_show(voters=2)
        await life.look(poll, deck, people)
        await life.mark(poll, 0)
        await api.edit(owner, poll, question="Another question?")
        for call in ("pause", "resume"):
            ok(await api.post(f"/polls/{poll['id']}/{call}", None, owner))
        await api.close(owner, poll)
        await all_show(final=True)
        await life.mark(poll, 1)
        await life.look(poll, deck, people)
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        for sock in sockets.values():
            await sock.expect("DECK_CHANGED")
        for client in clients.values():
            await client.event("deck_changed", poll=None)
        ok(await api.delete(f"/decks/{deck['id']}", owner), 204)
        async with asyncio.timeout(20):
            await asyncio.gather(*streams)
        for who, sock in sockets.items():
            await sock.expect("DECK_DELETED")
            for text in sock.raw[1 if who == "stranger" else 2 :]:
                life.keep(f"socket of {who}", text.encode())
        for who, client in clients.items():
            await client.event("deck_deleted")
            for text in client.wire:
                if text.startswith(("2[", "3")) and "authenticated" not in text:
                    life.keep(f"client {who}", text.encode())
    return life.texts


async def test_no_byte_depends_on_what_is_correct(sio: Connect, ws: Open, api: Api, owner: Person) -> None:
    without = await live(api, owner, ws, sio, None)
    assert len(without) == 9 and all(without.values()), without.keys()
    assert "correct" not in json.dumps(without)
    for correct in (0, 1):
        with_one = await live(api, owner, ws, sio, correct)
        for who in without:
            for updates in (False, True):
                one, two = (
                    [t for t in found[who] if bool(UPDATE.search(t)) is updates]
                    for found in (without, with_one)
                )
                pairs = (
                    zip(sorted(one), sorted(two), strict=False) if updates else zip(one, two, strict=False)
                )
                differing = [pair for pair in pairs if pair[0] != pair[1]]
                assert not differing and len(one) == len(two), f"{who}: {len(one)} {len(two)} {differing[:1]}"
