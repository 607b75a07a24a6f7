"""Joining, leaving, watching: who is told what, when, and how often."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import Server
from tools.harness.shapes import counted, option_ids, public

pytestmark = pytest.mark.anyio

TICK = 0.1


async def test_joining_by_id_or_code_is_answered_with_the_whole_state(
    api: Api, owner: Person, ws: Any
) -> None:
    poll = await api.poll(owner)
    for field in (
        {"pollId": poll["id"]},
        {"code": poll["code"]},
        {"code": poll["code"].lower()},
    ):
        async with ws() as sock:
            await sock.send({"type": "JOIN_POLL"} | field)
            state = await sock.expect("POLL_STATE")
            assert state["poll"] == public(poll)
            assert state["tally"] == await api.tally(poll)
            assert state["yourVote"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pollId": "{id}", "code": "{code}"},
        {"pollId": None},
        {"pollId": 5},
        {"code": 5},
        {"code": ["x"]},
        {"pollId": "{id}", "extra": 1},
    ],
    ids=str,
)
async def test_joining_takes_exactly_one_of_poll_id_and_code(
    api: Api, owner: Person, ws: Any, fields: dict[str, Any]
) -> None:
    poll = await api.poll(owner)
    filled = {
        name: value.format(**poll) if isinstance(value, str) else value for name, value in fields.items()
    }
    async with ws() as sock:
        await sock.send({"type": "JOIN_POLL", "id": "j"} | filled)
        error = await sock.expect("ERROR")
        assert (error["code"], error["id"]) == ("VALIDATION_FAILED", "j")
        await sock.settle()


@pytest.mark.parametrize(
    "value", ["unknown", "", "x" * 27, "a b", "IIIIII", "ä", "x" * 3000], ids=lambda v: v[:8]
)
async def test_joining_what_does_not_exist_is_not_found(ws: Any, value: str) -> None:
    async with ws() as sock:
        for field in ("pollId", "code"):
            await sock.send({"type": "JOIN_POLL", field: value, "id": "j"})
            error = await sock.expect("ERROR")
            assert (error["code"], error["id"]) == ("NOT_FOUND", "j")
        await sock.settle()


async def test_your_vote_is_what_stands(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    options = option_ids(poll)
    async with ws(guest) as sock:
        assert (await sock.join(poll))["yourVote"] is None
        for number, option in enumerate(options):
            vote = (await sock.vote(poll["id"], [option], id=f"b{number}")).fresh()
            expected = {name: vote[name] for name in ("id", "optionIds", "seq", "castAt")}
            assert (await sock.join(poll))["yourVote"] == expected
        (await sock.retract(poll["id"])).fresh()
        assert (await sock.join(poll))["yourVote"] is None
    async with ws() as anonymous:
        assert (await anonymous.join(poll))["yourVote"] is None


async def test_everyone_in_the_room_sees_the_tally_move(
    api: Api, owner: Person, ballots: Any, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True)
    options = option_ids(poll)
    async with ws() as one, ws(owner) as two, ws() as elsewhere:
        await one.join(poll)
        await two.join(poll)
        for number, voter in enumerate(await api.guests(3), start=1):
            marks = one.mark(), two.mark()
            vote = (await ballots.vote(voter, poll["id"], options[:1])).fresh()
            for sock, mark in zip((one, two), marks, strict=True):
                update = await sock.until(
                    lambda sock=sock, mark=mark, number=number: next(  # type: ignore[misc]
                        (f for f in sock.since(mark, "POLL_UPDATE") if f["tally"]["voters"] == number), None
                    ),
                    "POLL_UPDATE",
                )
                assert update["tally"]["seq"] >= vote["seq"]
                assert counted(update["tally"]) == {options[0]: number}
        await elsewhere.settle()
        assert elsewhere.since(0, "POLL_UPDATE") == []


async def test_an_update_follows_a_change_within_two_ticks(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    options = option_ids(poll)
    delays = []
    async with ws() as sock, ws(guest) as voting:
        await sock.join(poll)
        for number in range(8):
            vote = (await voting.vote(poll["id"], [options[number % 2]], id=f"b{number}")).fresh()
            done = asyncio.get_running_loop().time()
            await sock.shows(poll, seq=vote["seq"])
            delays.append(sock.times[-1] - done)
    assert sorted(delays)[len(delays) // 2] < 2 * TICK + 0.05


async def test_updates_come_at_most_once_a_tick_and_the_newest_always(
    api: Api, owner: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True)
    voters = await api.guests(60)
    async with ws() as sock:
        await sock.join(poll)
        await sock.settle()
        start = asyncio.get_running_loop().time()
        for batch in range(6):
            await asyncio.gather(
                *(api.vote(v, poll["id"], option_ids(poll)[:1]) for v in voters[batch * 10 : batch * 10 + 10])
            )
        await sock.shows(poll, voters=60)
        took = sock.times[-1] - start
        assert len(sock.since(0, "POLL_UPDATE")) <= took / TICK + 2


async def test_viewers_are_the_sockets_in_the_room_this_one_included(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner)
    async with ws() as first:
        state = await first.join(poll)
        assert state["viewers"] == 1
        async with ws(guest) as second, ws(guest) as third:
            await second.join(poll)
            await third.join(poll)
            for sock in (first, second, third):
                await sock.viewers(poll, 3)
            update = first.since(0, "POLL_UPDATE")[-1]
            assert update["tally"] == state["tally"]
            await third.leave(poll)
            for sock in (first, second):
                await sock.viewers(poll, 2)
        await first.viewers(poll, 1)


async def test_joining_twice_counts_once_and_answers_again(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as watcher, ws() as sock:
        await watcher.join(poll)
        for _ in range(3):
            await sock.join(poll)
        await watcher.viewers(poll, 2)
        await sock.leave(poll)
        await watcher.viewers(poll, 1)
        assert all(frame["viewers"] <= 2 for frame in watcher.frames if "viewers" in frame)


async def test_an_aborted_socket_is_forgotten_at_once(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as watcher, ws() as sock:
        await watcher.join(poll)
        await sock.join(poll)
        await watcher.viewers(poll, 2)
        sock.abort()
        await watcher.viewers(poll, 1, timeout=2)


async def test_leaving_is_answered_joined_or_not(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as sock:
        await sock.leave(poll)
        await sock.join(poll)
        await sock.leave(poll)
        await sock.leave(poll)
        await sock.send({"type": "LEAVE_POLL", "pollId": "unknown", "id": "l"})
        left = await sock.expect("LEFT_POLL", pollId="unknown")
        assert set(left) == {"type", "pollId"}
        for fields in ({}, {"pollId": 5}, {"code": poll["code"]}):
            await sock.send({"type": "LEAVE_POLL"} | fields)
            assert (await sock.expect("ERROR"))["code"] == "VALIDATION_FAILED"


async def test_who_left_is_told_nothing_more(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll, other = await api.poll(owner, guests=True), await api.poll(owner, guests=True)
    async with ws() as sock:
        await sock.join(poll)
        await sock.join(other)
        await sock.leave(poll)
        mark = sock.mark()
        (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
        await api.edit(owner, poll, question="Edited")
        await api.close(owner, poll)
        (await api.vote(guest, other["id"], option_ids(other)[:1])).fresh()
        await sock.shows(other, voters=1)
        await api.edit(owner, other, question="A barrier")
        await sock.expect("POLL_CHANGED")
        assert all(
            other["id"] in (frame.get("pollId"), frame.get("poll", {}).get("id"))
            for frame in sock.since(mark)
        )


async def test_deleting_tells_the_room_and_leaves_it(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True)
    async with ws() as watcher, ws(guest) as voting:
        await watcher.join(poll)
        await voting.join(poll)
        assert (await api.delete(f"/polls/{poll['id']}", owner)).status_code == 204
        for sock in (watcher, voting):
            assert await sock.expect("POLL_DELETED") == {"type": "POLL_DELETED", "pollId": poll["id"]}
            mark = sock.mark()
            await sock.leave(poll)
            await sock.send({"type": "JOIN_POLL", "pollId": poll["id"]})
            assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
            assert len(sock.since(mark)) == 2


async def test_auth_answers_the_state_of_each_joined_poll_anew(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = [await api.poll(owner, guests=True) for _ in range(3)]
    for poll in polls[:2]:
        (await api.vote(guest, poll["id"], option_ids(poll)[:1], id=poll["id"])).fresh()
    async with ws() as sock:
        for poll in polls:
            await sock.join(poll)
        await sock.leave(polls[2])
        mark = sock.mark()
        await sock.auth(guest)
        for poll in polls[:2]:
            state = await sock.expect("POLL_STATE", poll={"id": poll["id"]})
            assert state["yourVote"]["id"] == poll["id"]
        await sock.settle()
        kinds = [frame["type"] for frame in sock.since(mark) if frame["type"] != "POLL_UPDATE"]
        assert kinds == ["AUTHENTICATED", "POLL_STATE", "POLL_STATE", "PONG"]


async def test_a_vote_needs_no_join(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True)
    async with ws(guest) as sock:
        (await sock.vote(poll["id"], option_ids(poll)[:1])).fresh()
        await api.edit(owner, poll, question="Edited")
        assert (await api.tally(poll))["voters"] == 1
        await sock.settle()
        assert {frame["type"] for frame in sock.frames} == {
            "WELCOME", "AUTHENTICATED", "VOTE_ACCEPTED", "PONG",
        }  # fmt: skip


async def test_a_socket_is_in_at_most_100_rooms_and_stays(api: Api, ws: Any) -> None:
    user = await api.user()
    polls = await asyncio.gather(*(api.poll(user) for _ in range(102)))
    async with ws() as sock:
        for poll in polls[:100]:
            await sock.join(poll)
        await sock.send({"type": "JOIN_POLL", "pollId": polls[100]["id"], "id": "j"})
        error = await sock.expect("ERROR")
        assert (error["code"], error["id"]) == ("RATE_LIMITED", "j")
        await sock.join(polls[0])
        await sock.leave(polls[0])
        await sock.join(polls[100])
        await api.delete(f"/polls/{polls[1]['id']}", user)
        await sock.expect("POLL_DELETED")
        await sock.join(polls[101])
        await sock.settle()


async def test_one_pair_has_one_content_for_all_sockets_and_http(
    api: Api, owner: Person, ws: Any, server: Server
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    options = option_ids(poll)
    voters = await api.guests(12)
    async with AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(ws(owner if n % 2 else None)) for n in range(6)]
        for sock in watchers:
            await sock.join(poll)

        async def votes(voter: Person) -> None:
            for number in range(4):
                (await api.vote(voter, poll["id"], [options[number % 2]], id=f"b{number}")).fresh()
            (await api.retract(voter, poll["id"], "r")).fresh()

        async def edits() -> None:
            for number in range(5):
                await api.edit(owner, poll, question=f"Q{number}")

        async def joins() -> None:
            for number in range(20):
                await watchers[number % 6].join(poll)
                await api.state(poll)

        await asyncio.gather(edits(), joins(), *(votes(voter) for voter in voters))
        final = (await api.close(owner, poll))["tally"]
        for sock in watchers:
            seen = await sock.shows(poll, final=True)
            assert seen["tally"] == final
        assert (final["voters"], counted(final)) == (0, {})


async def test_a_watcher_of_many_polls_hears_of_each(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    polls = [await api.poll(owner, guests=True) for _ in range(10)]
    async with ws() as sock:
        for poll in polls:
            await sock.join(poll)
        await asyncio.gather(*(api.vote(guest, poll["id"], option_ids(poll)[:1]) for poll in polls))
        for poll in polls:
            await sock.shows(poll, voters=1)


async def test_a_deleted_polls_code_is_gone_with_it(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    ok(await api.get(f"/join/{poll['code']}"))
    await api.delete(f"/polls/{poll['id']}", owner)
    problem(await api.get(f"/join/{poll['code']}"), "NOT_FOUND")
