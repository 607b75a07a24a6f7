"""Ballots that wait together: order, limits, polls that are leased or absent, callers that leave."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from app.adapters.redis.ledger.batcher import LARGEST_BATCH
from app.domain.ballots import Ballot, Receipt
from app.domain.errors import PollroomError
from tests.ledger.world import World, answers, ballot, receipts, world
from tools.harness.wait import eventually
from tools.servers import RedisServer


async def calls(here: World) -> int:
    """Scripts that Redis was asked to run so far."""
    stats = await here.direct.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


async def test_arrival_order_is_the_order_of_seq_in_each_poll(own_redis: RedisServer) -> None:
    async with world(own_redis.url, partitions=4) as here:
        polls = [await here.poll() for _ in range(8)]
        sent = [ballot(polls[n * 5 % 8], f"v{n}", "a", "o1") for n in range(2_000)]
        got = receipts(await here.cast(*sent))
        for poll in polls:
            seqs = [one.seq for one in got if one.poll_id == poll]
            assert seqs == list(range(seqs[0], seqs[0] + 250))


async def test_the_last_of_a_voters_changes_stands(here: World) -> None:
    poll = await here.poll()
    futures = []
    for n in range(60):
        futures.append(here.ledger.cast(ballot(poll, "ann", f"b{n}", f"o{1 + n % 4}")))
        if n % 7 == 0:
            await asyncio.sleep(0)  # in some batches, not in one
    got = receipts(await answers(futures))
    assert [one.seq for one in got] == sorted(one.seq for one in got)
    state, standing = await here.ledger.read(poll, "ann")
    assert standing is not None and (standing.id, standing.seq) == ("b59", got[-1].seq)
    assert (state.voters, {k: v for k, v in state.counts.items() if v}) == (1, {"o4": 1})


async def test_a_call_has_at_most_256_ballots(here: World) -> None:
    poll = await here.poll()
    before = await calls(here)
    receipts(await here.cast(*[ballot(poll, f"v{n}", "a", "o1") for n in range(2 * LARGEST_BATCH + 1)]))
    assert await calls(here) - before == 3


async def test_50_copies_at_once_give_one_fresh_answer(here: World) -> None:
    poll = await here.poll()
    got = receipts(await here.cast(*[ballot(poll, "ann", "a", "o1", "o2") for _ in range(50)]))
    assert [one.repeated for one in got] == [False] + [True] * 49
    assert len({(one.seq, one.cast_at, one.choices) for one in got}) == 1
    assert await here.accepted(poll) == ["a"]


async def test_over_the_limit_of_waiting_ballots_the_answer_is_at_once_unavailable(
    own_redis: RedisServer,
) -> None:
    async with world(own_redis.url, limit=10) as here:
        poll = await here.poll()
        waiting = [here.ledger.cast(ballot(poll, f"v{n}", "a", "o1")) for n in range(10)]
        with pytest.raises(PollroomError, match="not known") as refused:
            here.ledger.cast(ballot(poll, "v10", "a", "o1"))
        assert refused.value.code == "UNAVAILABLE"
        receipts(await answers(waiting))
        receipts(await here.cast(ballot(poll, "v10", "a", "o1")))
        assert here.ledger.batcher.waiting == 0


async def test_an_absent_poll_is_loaded_once_for_many_ballots(here: World) -> None:
    poll = await here.poll()
    await here.direct.delete(*here.keys.poll(poll))
    voters = [f"v{n}" for n in range(600)]
    futures = []
    for n, voter in enumerate(voters):
        futures.append(here.ledger.cast(ballot(poll, voter, "a", "o1")))
        if n % 50 == 0:
            await asyncio.sleep(0)
    got = receipts(await answers(futures))
    assert here.loads == [poll]
    assert [one.seq for one in got] == list(range(got[0].seq, got[0].seq + 600))


async def test_ballots_for_a_poll_that_is_nowhere_are_not_found(here: World) -> None:
    poll = await here.poll()
    got = await here.cast(
        ballot("nowhere", "ann", "a", "o1"),
        ballot(poll, "ann", "a", "o1"),
        ballot("nowhere", "bob", "a", "o1"),
    )
    assert [got[0], got[2]] == ["NOT_FOUND", "NOT_FOUND"]
    receipts([got[1]])
    assert here.ledger.batcher.waiting == 0


async def test_ballots_wait_for_a_held_poll_and_no_others_do(here: World) -> None:
    held_poll, other = await here.poll(allow_change=True), await here.poll()
    lease = await here.lease(held_poll)
    waiting = [here.ledger.cast(ballot(held_poll, f"v{n}", "a", "o1")) for n in range(300)]
    receipts(await here.cast(*[ballot(other, f"v{n}", "a", "o1") for n in range(300)]))
    assert not any(one.done() for one in waiting)
    later = [here.ledger.cast(ballot(held_poll, f"v{n}", "b", "o2")) for n in range(300)]
    await here.install(lease, here.revise(lease, allow_change=False))
    got = receipts(await answers(waiting))
    assert [one.seq for one in got] == list(range(got[0].seq, got[0].seq + 300))
    assert set(await answers(later)) == {"ALREADY_VOTED"}


async def test_ballots_wait_for_a_lease_until_it_expires(here: World) -> None:
    poll = await here.poll()
    began = time.monotonic()
    await here.lease(poll)
    assert [one.repeated for one in receipts(await here.cast(ballot(poll, "ann", "a", "o1")))] == [False]
    assert time.monotonic() - began > 2.4


async def test_a_caller_that_leaves_breaks_no_other(here: World) -> None:
    poll = await here.poll()
    futures = [here.ledger.cast(ballot(poll, f"v{n}", "a", "o1")) for n in range(100)]
    for future in futures[::2]:
        future.cancel()
    receipts(await answers(futures[1::2]))
    lease = await here.lease(poll)
    parked = [here.ledger.cast(ballot(poll, f"w{n}", "a", "o1")) for n in range(20)]
    await eventually(lambda: calls(here), lambda n: n > 0)
    parked[3].cancel()
    await here.ledger.release(lease)
    receipts(await answers([*parked[:3], *parked[4:]]))
    assert here.ledger.batcher.waiting == 0
    assert (await here.ledger.read(poll))[0].voters == 120, "what was sent counts, whoever waits for it"


async def test_ballots_of_one_voter_in_one_call_follow_each_other(here: World) -> None:
    poll = await here.poll()
    got = await here.cast(
        ballot(poll, "ann", "a", "o1", "o2"),
        ballot(poll, "ann", "b", "o3"),
        ballot(poll, "ann", "a", "o2", "o1"),
        ballot(poll, "ann", "c", retract=True),
        ballot(poll, "ann", "d", retract=True),
        ballot(poll, "ann", "c", "o1"),
        ballot(poll, "ann", "b", retract=True),
    )
    a, b, again, c, d = receipts(got[:5])
    assert (b.seq, c.seq, d.seq) == (a.seq + 1, a.seq + 2, a.seq + 2)
    assert (again.seq, again.choices, again.repeated) == (a.seq, ("o1", "o2"), True)
    assert got[5:] == ["BALLOT_ID_REUSED", "BALLOT_ID_REUSED"]
    state, _ = await here.ledger.read(poll)
    assert (state.voters, sum(state.counts.values()), state.seq) == (0, 0, d.seq)


async def test_whoever_waits_when_the_delivery_ends_gets_an_answer(here: World) -> None:
    """In a queue, on the way to Redis, or behind a leased poll: not known what became of it."""
    poll, other = await here.poll(), await here.poll()
    await here.lease(other)
    futures = [here.ledger.cast(ballot(other, "ann", "a", "o1"))]
    await eventually(lambda: calls(here), lambda n: n > 0)
    await here.direct.client_pause(60_000)
    futures.append(here.ledger.cast(ballot(poll, "ann", "a", "o1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    futures.append(here.ledger.cast(ballot(poll, "bob", "a", "o1")))
    assert here.running is not None
    here.running.cancel()
    assert await asyncio.wait_for(answers(futures), 2) == ["UNAVAILABLE"] * 3


async def test_ballots_that_somebody_else_is_asked_about_get_an_answer_when_the_process_goes_down(
    here: World,
) -> None:
    asked = asyncio.Event()

    async def hang(_: Ballot) -> Receipt:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def absent(_: str) -> Callable[[Ballot], Awaitable[Receipt]]:
        return hang

    await here.ended()
    here.running = asyncio.ensure_future(here.ledger.run(here._load, absent, here._verify))
    waiting = [here.ledger.cast(ballot("nobody's", voter, "a", "o1")) for voter in ("ann", "bob")]
    await asyncio.wait_for(asked.wait(), 5)
    assert here.ledger.batcher.waiting == 2
    here.running.cancel()
    assert await asyncio.wait_for(answers(waiting), 2) == ["UNAVAILABLE"] * 2


async def test_a_ballot_that_cannot_be_encoded_is_answered_and_left_out(here: World) -> None:
    poll = await here.poll()
    got = await here.cast(
        ballot(poll, "ann", "a", "o1"),
        ballot(poll, "\ud800", "b", "o1"),
        ballot(poll, "bob", "c", "o2"),
    )
    assert got[1] == "INTERNAL"
    receipts([got[0], got[2]])
    receipts(await here.cast(ballot(poll, "cyd", "d", "o1")))
    assert here.ledger.batcher.waiting == 0
