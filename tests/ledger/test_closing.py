"""One clock decides, for all instances; what has closed stays closed."""

import asyncio

import pytest

from app.domain.ballots import Receipt
from app.domain.errors import PollroomError
from tests.ledger.world import Answer, World, ballot, receipts, world
from tools.servers import RedisServer

FAR = 3_600_000


async def entries(here: World, kind: str) -> list[int]:
    """The ``at`` of the log's entries of this kind."""
    return [entry[4] for _, entry in await here.log() if entry[:2] == ["p", kind]]


async def test_votes_of_two_instances_around_the_close(own_redis: RedisServer) -> None:
    """The exact millisecond, alike for both, all of a batch together; and nobody else closes it."""
    async with world(own_redis.url) as one, world(own_redis.url) as two:
        closes = await one.time() + 1500
        poll = await one.poll(closes_at=closes)
        rounds: list[list[Answer]] = []
        while not rounds or not isinstance(rounds[-1][0], str):
            n = len(rounds)
            where = (one, two)[n % 2]
            rounds.append(await where.cast(*[ballot(poll, f"v{n}-{m}", "a", "o1") for m in range(5)]))
        rounds.append(await two.cast(ballot(poll, "late", "a", "o1")))
        rounds.append(await one.cast(ballot(poll, "late", "a", "o1")))
        taken = [r for answered in rounds[:-3] for r in receipts(answered)]
        assert taken, "too slow a machine for this test"
        assert max(one.cast_at for one in taken) < closes
        assert {code for answered in rounds[-3:] for code in answered} == {"POLL_CLOSED"}
        assert await two.time() >= closes
        state, _ = await two.ledger.read(poll)
        assert (state.closed, state.closes, state.voters) == (closes, closes, len(taken))
        assert state.seq == taken[-1].seq + 1
        assert await entries(one, "close") == [closes]


async def test_a_known_ballot_is_answered_after_the_close_as_before(here: World) -> None:
    poll = await here.poll()
    (first,) = receipts(await here.cast(ballot(poll, "ann", "a", "o2", "o1")))
    await here.ledger.close(poll)
    got = await here.cast(
        ballot(poll, "ann", "a", "o1", "o2"),
        ballot(poll, "ann", "a", "o1"),
        ballot(poll, "ann", "b", "o1"),
        ballot(poll, "ann", "c", retract=True),
    )
    assert got == [
        Receipt("a", poll, ("o2", "o1"), first.seq, first.cast_at, True),
        "BALLOT_ID_REUSED",
        "POLL_CLOSED",
        "POLL_CLOSED",
    ]


async def test_a_clock_that_steps_back_reopens_nothing(here: World) -> None:
    """As seen from the script: its moments lie ahead again."""
    soon = await here.time() + 5
    poll = await here.poll(closes_at=soon)
    await here.until(soon)
    before, _ = await here.ledger.read(poll)
    assert before.closed == soon
    assert not await here.direct.hset(
        here.keys.poll(poll)[0], mapping={"closes": soon + FAR, "opens": soon + FAR}
    )
    assert await here.cast(ballot(poll, "ann", "a", "o1")) == ["POLL_CLOSED"]
    after, _ = await here.ledger.read(poll)
    assert (after.closed, after.status, after.order) == (soon, "closed", before.order)


async def test_a_clock_that_steps_back_takes_no_opening_back(here: World) -> None:
    soon = await here.time() + 5
    poll = await here.poll(opens_at=soon)
    await here.until(soon)
    before, _ = await here.ledger.read(poll)
    assert before.status == "open"
    assert not await here.direct.hset(here.keys.poll(poll)[0], "opens", soon + FAR)
    receipts(await here.cast(ballot(poll, "ann", "a", "o1")))


async def test_whoever_comes_first_opens_and_closes_once(here: World) -> None:
    poll = await here.poll(opens_at=await here.time() + FAR, closes_at=await here.time() + 2 * FAR)
    opens = await here.time()
    closes = opens + 10
    assert not await here.direct.hset(here.keys.poll(poll)[0], mapping={"opens": opens, "closes": closes})
    await here.until(closes)
    states = await asyncio.gather(*[here.ledger.read(poll) for _ in range(20)])
    assert {(state.order, state.status) for state, _ in states} == {(states[0][0].order, "closed")}
    assert (await entries(here, "open"), await entries(here, "close")) == ([opens], [closes])


@pytest.mark.parametrize("by", ["call", "time"])
async def test_new_times_after_the_close_are_late_and_the_other_rules_are_taken(here: World, by: str) -> None:
    closes = await here.time() + FAR
    poll = await here.poll(closes_at=closes, guests=False)
    lease = await here.lease(poll)
    assert lease.state is not None and not lease.state.closed
    if by == "call":
        await here.ledger.close(poll)
    else:
        closes = await here.time()
        assert not await here.direct.hset(here.keys.poll(poll)[0], "closes", closes)
    rules = here.revise(lease, closes_at=closes + FAR, guests=True)
    state, late = await here.install(lease, rules, times=True)
    assert late
    assert (state.version, state.status) == (2, "closed")
    assert state.closes == state.closed <= closes
    assert len(await entries(here, "close")) == 1
    assert await here.cast(ballot(poll, "g", "a", "o1", guest=True)) == ["POLL_CLOSED"], "no longer FORBIDDEN"


async def test_new_times_in_time_are_taken(here: World) -> None:
    closes = await here.time() + 2000
    poll = await here.poll(closes_at=closes)
    state, late = await here.edit(poll, closes_at=closes + FAR)
    assert (late, state.closes, state.status) == (False, closes + FAR, "open")
    await here.until(closes)
    receipts(await here.cast(ballot(poll, "ann", "a", "o1")))


async def test_closing_again_answers_the_same(here: World) -> None:
    poll = await here.poll()
    first = await here.ledger.close(poll)
    assert first.closes == first.closed == first.now
    assert first.status == "closed"
    again = await here.ledger.close(poll)
    assert (again.order, again.closed) == (first.order, first.closed)
    assert await entries(here, "close") == [first.closed]


async def test_what_is_not_open_or_deleted_does_not_close(here: World) -> None:
    for changes in ({"draft": True}, {"opens_at": await here.time() + FAR}):
        poll = await here.poll(**changes)
        with pytest.raises(PollroomError) as refused:
            await here.ledger.close(poll)
        assert refused.value.code == "POLL_NOT_OPEN"
        deleted = await here.ledger.delete(poll)
        assert (await here.ledger.delete(poll)).order == deleted.order
        with pytest.raises(PollroomError) as refused:
            await here.ledger.close(poll)
        assert refused.value.code == "NOT_FOUND"
    assert await entries(here, "close") == []
    assert len(await entries(here, "delete")) == 2
