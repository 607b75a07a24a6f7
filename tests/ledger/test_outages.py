"""Redis restarts, is full, forgets its scripts; the verification fails or hangs. Nothing acknowledged is lost."""

import asyncio
import time

from app.adapters.redis.ledger.batcher import RETRY_SECONDS
from app.domain.errors import unavailable
from tests.ledger.world import Answer, World, answers, ballot, receipts, world
from tools.harness.wait import eventually
from tools.servers import RedisServer


async def _refuse(partition: int) -> None:
    raise unavailable()


async def _two(here: World) -> tuple[str, str]:
    """A poll in either partition; the first one's fence is gone, and cannot be verified."""
    polls: dict[int, str] = {}
    while len(polls) < 2:
        poll = await here.poll()
        polls[here.keys.partition(poll)] = poll
    here.verifying = _refuse
    await here.direct.hdel(here.keys.fence(0), "run")
    return polls[0], polls[1]


async def _calls(here: World) -> int:
    """Scripts that Redis was asked to run so far."""
    return int((await here.direct.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def test_scripts_are_forgotten_in_the_middle(here: World) -> None:
    poll = await here.poll()
    n = 0
    for _ in range(30):
        futures = [here.ledger.cast(ballot(poll, f"v{n + m}", "a", "o1")) for m in range(10)]
        n += 10
        reads = asyncio.gather(*[here.ledger.read(poll) for _ in range(5)], here.ledger.peek([poll]))
        await here.direct.script_flush()
        receipts(await answers(futures))
        await reads
    state, _ = await here.ledger.read(poll)
    assert state.voters == n == len(await here.accepted(poll))


async def test_every_acknowledged_ballot_survives_kill_9_of_redis(own_redis: RedisServer) -> None:
    """Under load, three times; each repeat answers as the first did."""
    async with world(own_redis.url, partitions=2) as here:
        polls = [await here.poll() for _ in range(3)]
        sent = [ballot(polls[n % 3], f"v{n}", "a", f"o{1 + n % 3}", "o4") for n in range(900)]
        got: list[Answer] = []
        for start in range(0, 900, 300):
            futures = []
            for one in sent[start : start + 300]:
                futures.append(here.ledger.cast(one))
                if len(futures) % 20 == 0:
                    await asyncio.wait(futures[:1])  # some answered, some under way, some waiting
            own_redis.kill()
            own_redis.start()
            got += await answers(futures)
        first = receipts(got)
        again = receipts(await here.cast(*sent))
        assert all(one.repeated for one in again)
        assert [(a.id, a.seq, a.cast_at, a.choices) for a in again] == [
            (f.id, f.seq, f.cast_at, f.choices) for f in first
        ]
        for poll in polls:
            state, _ = await here.ledger.read(poll)
            assert (state.epoch, state.voters, len(await here.accepted(poll))) == (1, 300, 300)


async def test_a_full_redis_counts_nothing_and_recovers(here: World) -> None:
    poll = await here.poll()
    receipts(await here.cast(ballot(poll, "ann", "a", "o1")))
    log, (before, _) = await here.log(), await here.ledger.read(poll)
    await here.direct.config_set("maxmemory", "1")
    sent = [ballot(poll, "ann", "b", "o2"), ballot(poll, "bob", "a", "o2")]
    assert await here.cast(*sent) == ["UNAVAILABLE"] * 2
    after, _ = await here.ledger.read(poll)
    assert (after.order, after.counts, await here.log()) == (before.order, before.counts, log)
    await here.direct.config_set("maxmemory", "0")
    assert [one.repeated for one in receipts(await here.cast(*sent))] == [False, False]


async def test_a_lost_fence_is_verified_anew_for_many_ballots(here: World) -> None:
    poll = await here.poll()
    await here.direct.hdel(here.keys.fence(0), "run")
    receipts(await here.cast(*[ballot(poll, f"v{n}", "a", "o1") for n in range(300)]))
    assert (await here.ledger.read(poll))[0].voters == 300


async def test_the_generation_that_another_process_began_is_taken_over(here: World) -> None:
    poll = await here.poll()
    (first,) = receipts(await here.cast(ballot(poll, "ann", "a", "o1")))
    run = (await here.fences.inspect(0)).run
    assert await here.fences.write(0, run, 2, "tests")
    (again, fresh) = receipts(await here.cast(ballot(poll, "ann", "a", "o1"), ballot(poll, "bob", "a", "o1")))
    assert (again.seq, again.repeated, fresh.repeated) == (first.seq, True, False)
    state, _ = await here.ledger.read(poll)
    assert state.order == (2, fresh.seq)
    assert await here.direct.xlen(here.keys.log(0, 2)) == 1


async def test_while_a_partition_cannot_be_verified_its_ballots_are_unavailable_and_nothing_dies(
    own_redis: RedisServer,
) -> None:
    async with world(own_redis.url, partitions=2) as here:
        first, second = await _two(here)
        sick, well = await asyncio.gather(
            here.cast(ballot(first, "ann", "a", "o1")), here.cast(ballot(second, "ann", "a", "o1"))
        )
        assert sick == ["UNAVAILABLE"]
        receipts(well)
        here.verifying = here.verify
        receipts(await here.cast(ballot(first, "ann", "a", "o1")))
        assert here.running is not None and not here.running.done()


async def test_a_partition_that_is_not_verified_holds_up_no_other(own_redis: RedisServer) -> None:
    async with world(own_redis.url, partitions=2) as here:
        sick, well = await _two(here)
        before, began = await _calls(here), time.monotonic()
        waiting = here.ledger.cast(ballot(sick, "ann", "a", "o1"))
        votes = 0
        while time.monotonic() - began < 1:
            receipts(await here.cast(ballot(well, f"v{votes}", "a", "o1")))
            votes += 1
            assert not waiting.done()
        again = await _calls(here) - before - votes
        elapsed = time.monotonic() - began
        assert 2 <= again <= elapsed / RETRY_SECONDS + 1, "in its own time, however often the others are sent"
        here.verifying = here.verify
        assert [one.repeated for one in receipts(await answers([waiting]))] == [False]


async def test_ballots_of_a_partition_keep_their_order_while_it_is_verified(own_redis: RedisServer) -> None:
    async with world(own_redis.url, partitions=2) as here:
        sick, well = await _two(here)
        before = await _calls(here)
        waiting = [here.ledger.cast(ballot(sick, "ann", "b0", "o1"))]
        await eventually(lambda: _calls(here), lambda n: n > before)
        for n in range(1, 400):
            waiting.append(here.ledger.cast(ballot(sick, "ann" if n < 40 else f"v{n}", f"b{n}", "o2")))
            if n % 20 == 0:
                receipts(await here.cast(ballot(well, f"v{n}", "a", "o1")))
        assert not any(one.done() for one in waiting)
        here.verifying = here.verify
        got = receipts(await answers(waiting))
        assert [one.seq for one in got] == list(range(got[0].seq, got[0].seq + 400))
        assert await here.accepted(sick) == [f"b{n}" for n in range(400)]
        assert here.ledger.batcher.waiting == 0


async def test_what_waits_for_a_verification_gets_an_answer_when_the_process_goes_down(
    own_redis: RedisServer,
) -> None:
    async with world(own_redis.url, partitions=2) as here:
        sick, _ = await _two(here)
        first = here.ledger.cast(ballot(sick, "ann", "a", "o1"))
        await here.ledger.batcher.drain()
        assert await answers([first]) == ["UNAVAILABLE"]
        before = await _calls(here)
        waiting = [here.ledger.cast(ballot(sick, "ann", "b", "o1"))]
        await eventually(lambda: _calls(here), lambda n: n > before + 1)
        waiting.append(here.ledger.cast(ballot(sick, "ann", "c", "o1")))
        assert here.running is not None
        here.running.cancel()
        assert await asyncio.wait_for(answers(waiting), 2) == ["UNAVAILABLE"] * 2


async def test_a_verification_that_hangs_is_waited_for_no_longer_than_for_redis(here: World) -> None:
    poll = await here.poll()
    begun = asyncio.Event()

    async def hang(partition: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    here.verifying = hang
    await here.direct.hdel(here.keys.fence(0), "run")
    began = time.monotonic()
    voting = asyncio.ensure_future(here.cast(ballot(poll, "ann", "a", "o1")))
    await begun.wait()
    assert await asyncio.wait_for(voting, 6) == ["UNAVAILABLE"]
    assert time.monotonic() - began > 3
    await eventually(lambda: asyncio.sleep(0, here.ledger.batcher.waiting), lambda n: n == 0)
