"""Pausing and resuming: no ballot is accepted in between, and repeats get their first answers."""

from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids, public
from tools.harness.wait import ahead, eventually

pytestmark = pytest.mark.anyio


async def act(api: Api, owner: Person, poll: dict[str, Any], action: str) -> dict[str, Any]:
    body: dict[str, Any] = ok(await api.post(f"/polls/{poll['id']}/{action}", None, owner))
    assert set(body) == {"poll", "tally"}
    return body


async def test_a_paused_poll_takes_no_ballots_until_it_goes_on(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    assert poll["paused"] is False
    first = await api.vote(guest, poll["id"], option_ids(poll)[:1], id="first")
    body = await act(api, owner, poll, "pause")
    assert body["poll"]["paused"] is True and body["poll"]["status"] == "open"
    (await api.vote(guest, poll["id"], option_ids(poll)[1:2])).refused("POLL_PAUSED")
    (await api.retract(guest, poll["id"])).refused("POLL_PAUSED")
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id="first")).repeats(first)
    (await api.vote(guest, poll["id"], option_ids(poll)[1:2], id="first")).refused("BALLOT_ID_REUSED")
    (await api.vote(guest, poll["id"], ["unknown"])).refused("POLL_PAUSED")
    assert (await act(api, owner, poll, "resume"))["poll"]["paused"] is False
    (await api.vote(guest, poll["id"], option_ids(poll)[1:2])).fresh()


async def test_pausing_twice_and_resuming_twice_changes_nothing(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    before = await api.state(poll, owner)
    body = await act(api, owner, poll, "resume")
    assert body | {"yourVote": None} == before
    paused = await act(api, owner, poll, "pause")
    assert paused["tally"]["seq"] > before["tally"]["seq"]
    assert await act(api, owner, poll, "pause") == paused


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_only_an_open_poll_can_pause(api: Api, owner: Person, guest: Person, action: str) -> None:
    for fields in ({"draft": True}, {"opensAt": ahead(1000)}):
        poll = await api.poll(owner, **fields)
        problem(await api.post(f"/polls/{poll['id']}/{action}", None, owner), "POLL_NOT_OPEN")
    poll = await api.poll(owner, guests=True)
    problem(await api.post(f"/polls/{poll['id']}/{action}", None, guest), "FORBIDDEN")
    problem(await api.post(f"/polls/{poll['id']}/{action}"), "UNAUTHENTICATED")
    await api.close(owner, poll)
    problem(await api.post(f"/polls/{poll['id']}/{action}", None, owner), "POLL_CLOSED")
    problem(await api.post(f"/polls/unknown/{action}", None, owner), "NOT_FOUND")


async def test_closing_ends_a_pause(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    await act(api, owner, poll, "pause")
    assert (await api.close(owner, poll))["poll"]["paused"] is False
    assert (await api.state(poll))["poll"]["paused"] is False


async def test_a_paused_poll_closes_at_its_time(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, closesAt=ahead(2))
    await act(api, owner, poll, "pause")

    async def status() -> str:
        return str((await api.state(poll))["poll"]["status"])

    await eventually(status, lambda found: found == "closed", 10)


async def test_the_room_is_told_of_a_pause(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True)
    async with ws(guest) as sock:
        assert (await sock.join(poll))["poll"]["paused"] is False
        body = await act(api, owner, poll, "pause")
        changed = await sock.expect("POLL_CHANGED")
        assert changed["poll"] == public(body["poll"])
        (await sock.vote(poll["id"], option_ids(poll)[:1])).refused("POLL_PAUSED")
        await act(api, owner, poll, "resume")
        assert (await sock.expect("POLL_CHANGED"))["poll"]["paused"] is False
        (await sock.vote(poll["id"], option_ids(poll)[:1])).fresh()
