"""Right answers: secret until they are revealed, which closes the poll."""

import json
import re
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids, public
from tools.harness.wait import ahead

pytestmark = pytest.mark.anyio

TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[0-9:.]+Z")
MARKED = [{"label": "Lyon"}, {"label": "Paris", "correct": True}, "Nice"]


async def marked(api: Api, owner: Person, **fields: Any) -> dict[str, Any]:
    return await api.poll(owner, **({"options": MARKED, "guests": True} | fields))


async def correct(api: Api, owner: Person, poll: dict[str, Any]) -> list[int]:
    """The positions of the correct options, as the owner reads them."""
    found = (await api.state(poll, owner))["poll"]["correctOptionIds"]
    return [option_ids(poll).index(one) for one in found]


async def edit(api: Api, owner: Person, poll: dict[str, Any], marks: list[Any]) -> dict[str, Any]:
    options = [
        {"label": option["label"]} | ({} if mark is ... else {"correct": mark})
        for option, mark in zip(poll["options"], marks, strict=True)
    ]
    body = ok(await api.patch(f"/polls/{poll['id']}", {"options": options}, owner))
    found: dict[str, Any] = body["poll"]
    return found


async def test_the_owner_alone_reads_what_is_correct(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await marked(api, owner)
    ids = option_ids(poll)
    assert poll["correctOptionIds"] == ids[1:2] and poll["revealed"] is None
    for path in (f"/polls/{poll['id']}", f"/join/{poll['code']}"):
        assert ok(await api.get(path, owner))["poll"]["correctOptionIds"] == ids[1:2]
        assert "correctOptionIds" not in ok(await api.get(path, guest))["poll"]
        assert "correctOptionIds" not in ok(await api.get(path))["poll"]
    listed = ok(await api.get("/polls", owner))["items"][0]
    assert listed["correctOptionIds"] == ids[1:2]
    async with ws(owner) as sock:
        assert "correctOptionIds" not in (await sock.join(poll))["poll"]
        ok(await api.patch(f"/polls/{poll['id']}", {"question": "New?"}, owner))
        assert "correctOptionIds" not in (await sock.expect("POLL_CHANGED"))["poll"]


async def test_no_byte_that_others_get_depends_on_what_is_correct(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    seen: list[str] = []
    for position in (0, 1):
        options = [{"label": "A", "correct": position == 0}, {"label": "B", "correct": position == 1}]
        poll = await marked(api, owner, options=options)
        ids = option_ids(poll)
        texts: list[str] = []
        async with ws(guest) as sock:
            texts.append(json.dumps((await sock.join(poll))["poll"]))
            (await sock.vote(poll["id"], ids[:1])).fresh()
            await api.close(owner, poll)
            texts.append(json.dumps((await sock.expect("POLL_CHANGED"))["poll"]))
        texts += [
            (await api.get(f"/polls/{poll['id']}{path}")).text for path in ("", "/results", "/results.csv")
        ]
        text = TIME.sub("time", " ".join(texts))
        for number, name in enumerate((poll["id"], poll["code"], *ids)):
            text = text.replace(name, f"name{number}")
        seen.append(text)
    assert seen[0] == seen[1]
    assert "correct" not in seen[0]


async def test_marks_change_silently_also_after_votes_and_after_the_close(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await marked(api, owner)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
    before = await api.state(poll)
    assert (await edit(api, owner, poll, [True, ..., ...]))["correctOptionIds"] == option_ids(poll)[:2]
    assert await correct(api, owner, poll) == [0, 1]
    await edit(api, owner, poll, [..., None, ...])
    assert await correct(api, owner, poll) == [0]
    ok(await api.patch(f"/polls/{poll['id']}", {"options": ["Lyon", "Paris", "Nice"]}, owner))
    assert await correct(api, owner, poll) == [0]
    assert await api.state(poll) == before
    await api.close(owner, poll)
    await edit(api, owner, poll, [False, ..., True])
    assert await correct(api, owner, poll) == [2]


async def test_revealing_closes_the_poll_and_tells_everybody(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await marked(api, owner)
    ids = option_ids(poll)
    async with ws(guest) as sock:
        await sock.join(poll)
        body = ok(await api.post(f"/polls/{poll['id']}/reveal", None, owner))
        assert set(body) == {"poll", "tally"}
        assert body["poll"]["status"] == "closed" and body["tally"]["final"] is True
        assert body["poll"]["revealed"]["correctOptionIds"] == ids[1:2]
        assert set(body["poll"]["revealed"]) == {"at", "correctOptionIds"}
        while (changed := await sock.expect("POLL_CHANGED"))["poll"]["revealed"] is None:
            assert changed["poll"]["status"] == "closed"
        assert changed["poll"] == public(body["poll"])
    assert (await api.state(poll))["poll"] == public(body["poll"])
    assert ok(await api.post(f"/polls/{poll['id']}/reveal", None, owner)) == body
    problem(
        await api.patch(
            f"/polls/{poll['id']}", {"options": [{"label": "Lyon", "correct": True}, "Paris", "Nice"]}, owner
        ),
        "POLL_LOCKED",
    )
    assert (
        ok(await api.patch(f"/polls/{poll['id']}", {"question": "Again?"}, owner))["poll"]["revealed"]
        == body["poll"]["revealed"]
    )


async def test_what_cannot_be_revealed(api: Api, owner: Person, guest: Person) -> None:
    for fields in ({"draft": True}, {"opensAt": ahead(1000)}, {"draft": True, "options": ["A", "B"]}):
        poll = await marked(api, owner, **fields)
        problem(await api.post(f"/polls/{poll['id']}/reveal", None, owner), "POLL_NOT_OPEN")
    poll = await marked(api, owner, options=["A", "B"])
    problem(await api.post(f"/polls/{poll['id']}/reveal", None, owner), "NOTHING_TO_REVEAL")
    assert (await api.state(poll))["poll"]["status"] == "open"
    problem(await api.post(f"/polls/{poll['id']}/reveal", None, guest), "FORBIDDEN")
    problem(await api.post(f"/polls/{poll['id']}/reveal"), "UNAUTHENTICATED")


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
async def test_a_mark_is_true_false_or_null(api: Api, owner: Person, value: Any) -> None:
    body = {"question": "?", "options": [{"label": "A", "correct": value}, "B"]}
    problem(await api.post("/polls", body, owner), "VALIDATION_FAILED", "options")
