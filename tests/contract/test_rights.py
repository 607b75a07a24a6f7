"""The right to see counts: how a socket comes by it, and what it is bound to."""

from typing import Any

import pytest

from tests.contract.bodies import HIDING, bodies
from tools.harness.http import Api, Person, ok
from tools.harness.shapes import counted, option_ids

pytestmark = pytest.mark.anyio


async def after_vote(api: Api, owner: Person, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    poll = await api.poll(owner, resultsVisibility="after_vote", guests=True, **fields)
    return poll, option_ids(poll)


async def test_a_socket_learns_of_its_right_by_its_own_vote(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as sock:
        assert "counts" not in (await sock.join(poll))["tally"]
        mark = sock.mark()
        vote = (await sock.vote(poll["id"], options[:1])).fresh()
        seen = await sock.shows(
            poll,
            mark=mark,
            seq=lambda seq: seq >= vote["seq"],
            counts=lambda counts: counts.get(options[0]) == 1,
        )
        assert counted(seen["tally"]) == {options[0]: 1}


async def test_a_socket_learns_of_its_right_by_its_own_repeated_vote(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as sock:
        await sock.join(poll)
        first = await api.vote(guest, poll["id"], options[:1], id="b")
        (await sock.vote(poll["id"], options[:1], id="b")).repeats(first)
        mark = sock.mark()
        (await api.vote(await api.guest(), poll["id"], options[1:])).fresh()
        seen = await sock.shows(poll, mark=mark, voters=2)
        assert counted(seen["tally"]) == {options[0]: 1, options[1]: 1}


async def test_a_socket_learns_of_its_right_at_join(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as sock:
        assert "counts" not in (await sock.join(poll))["tally"]
        (await api.vote(guest, poll["id"], options[:1])).fresh()
        assert counted((await sock.join(poll))["tally"]) == {options[0]: 1}
        mark = sock.mark()
        (await api.vote(await api.guest(), poll["id"], options[1:])).fresh()
        assert "counts" in (await sock.shows(poll, mark=mark, voters=2))["tally"]


async def test_a_socket_learns_of_its_right_at_auth(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll, options = await after_vote(api, owner)
    (await api.vote(guest, poll["id"], options[:1], id="b")).fresh()
    async with ws() as sock:
        state = await sock.join(poll)
        assert "counts" not in state["tally"]
        assert state["yourVote"] is None
        mark = sock.mark()
        await sock.auth(guest)
        state = await sock.expect("POLL_STATE")
        assert counted(state["tally"]) == {options[0]: 1}
        assert state["yourVote"]["id"] == "b"
        assert len(sock.since(mark, "POLL_STATE")) == 1


async def test_the_owners_socket_learns_of_its_right_at_auth(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner, resultsVisibility="owner")
    async with ws() as sock:
        assert "counts" not in (await sock.join(poll))["tally"]
        await sock.auth(owner)
        assert "counts" in (await sock.expect("POLL_STATE"))["tally"]


async def test_a_socket_learns_of_its_right_with_every_poll_changed(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as sock, ws() as anonymous:
        await sock.join(poll)
        await anonymous.join(poll)
        (await api.vote(guest, poll["id"], options[:1])).fresh()
        await api.edit(owner, poll, question="Edited")
        assert counted((await sock.expect("POLL_CHANGED"))["tally"]) == {options[0]: 1}
        assert "counts" not in (await anonymous.expect("POLL_CHANGED"))["tally"]


async def test_a_right_belongs_to_the_voter_not_to_the_socket_or_the_room(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as voting, ws(guest) as second, ws(await api.guest()) as stranger:
        for sock in (voting, second, stranger):
            await sock.join(poll)
        (await voting.vote(poll["id"], options[:1])).fresh()
        await stranger.shows(poll, voters=1)
        assert "counts" in (await second.join(poll))["tally"]
        assert "counts" not in (await stranger.join(poll))["tally"]
        assert not any('"counts"' in text for text in stranger.raw)


async def test_a_voter_keeps_the_right_after_retracting(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner, allowChange=True)
    (await api.vote(guest, poll["id"], options[:1])).fresh()
    (await api.retract(guest, poll["id"])).fresh()
    async with ws(guest) as sock:
        state = await sock.join(poll)
        assert counted(state["tally"]) == {}
        assert state["yourVote"] is None


@pytest.mark.parametrize("how", ["refused", "retracted nothing"])
async def test_only_an_accepted_ballot_gives_the_right(
    api: Api, owner: Person, guest: Person, ws: Any, how: str
) -> None:
    poll, options = await after_vote(api, owner, allowChange=True)
    async with ws(guest) as sock:
        await sock.join(poll)
        if how == "refused":
            (await sock.vote(poll["id"], options, id="b")).refused("INVALID_CHOICE_COUNT")
            (await sock.vote(poll["id"], ["foreign"], id="b")).refused("INVALID_OPTION")
        else:
            (await sock.retract(poll["id"], "r")).fresh()
            assert (await sock.retract(poll["id"], "r")).body["repeated"] is True
        (await api.vote(await api.guest(), poll["id"], options[1:])).fresh()
        await sock.shows(poll, voters=1)
        await api.edit(owner, poll, question="Edited")
        await sock.expect("POLL_CHANGED")
        await sock.join(poll)
        assert not any('"counts"' in text for text in sock.raw)
    for text in await bodies(api, poll, guest):
        assert '"counts"' not in text


@pytest.mark.parametrize("visibility", HIDING)
async def test_a_narrower_visibility_holds_from_the_edit_on(
    api: Api, owner: Person, ws: Any, visibility: str
) -> None:
    poll = await api.poll(owner, guests=True)
    voter = await api.guest()
    async with ws() as sock, ws(owner) as mine:
        assert "counts" in (await sock.join(poll))["tally"]
        await mine.join(poll)
        await api.edit(owner, poll, resultsVisibility=visibility)
        changed = await sock.expect("POLL_CHANGED")
        assert "counts" not in changed["tally"]
        assert "counts" in (await mine.expect("POLL_CHANGED"))["tally"]
        mark = sock.mark()
        (await api.vote(voter, poll["id"], option_ids(poll)[:1])).fresh()
        await sock.shows(poll, mark=mark, voters=1)
        assert not any("counts" in frame.get("tally", {}) for frame in sock.since(mark))


async def test_a_wider_visibility_is_told_by_the_edit(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner, resultsVisibility="owner")
    async with ws() as sock:
        assert "counts" not in (await sock.join(poll))["tally"]
        await api.edit(owner, poll, resultsVisibility="always")
        assert "counts" in (await sock.expect("POLL_CHANGED"))["tally"]


async def test_after_a_new_session_the_socket_still_sees_what_its_user_may(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll, options = await after_vote(api, owner)
    async with ws(guest) as sock:
        await sock.join(poll)
        (await sock.vote(poll["id"], options[:1])).fresh()
        renewed = ok(await api.post("/auth/refresh", {"refreshToken": guest.refresh}))
        mark = sock.mark()
        await sock.auth(renewed["accessToken"])
        await sock.until(lambda: sock.since(mark, "POLL_STATE") or None, "POLL_STATE")
        assert "counts" in sock.since(mark, "POLL_STATE")[0]["tally"]


async def test_who_voted_in_one_poll_learns_nothing_of_another(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    voted, options = await after_vote(api, owner)
    other, _ = await after_vote(api, owner)
    async with ws(guest) as sock:
        await sock.join(voted)
        await sock.join(other)
        (await sock.vote(voted["id"], options[:1])).fresh()
        assert "counts" in (await sock.join(voted))["tally"]
        assert "counts" not in (await sock.join(other))["tally"]
