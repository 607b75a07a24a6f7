"""Between the ledger and Redis replies are lost, requests delayed and connections cut: nothing counts twice."""

import asyncio
import random
import time

from app.domain.ballots import Receipt
from tests.ledger.proxy import Proxy
from tests.ledger.world import Answer, World, answers, ballot, receipts, world
from tools.servers import RedisServer


async def test_lost_replies_never_count_twice(own_redis: RedisServer, between: Proxy) -> None:
    """Connections are cut after Redis has executed, again and again, while votes and changes go on."""
    chance = random.Random(3)
    async with world(own_redis.url, through=between.url, partitions=2) as here:
        polls = [await here.poll() for _ in range(4)]
        last = {}
        between.cut = lambda: chance.random() < 0.3
        got: list[Answer] = []
        while between.cuts < 25:
            futures: list[asyncio.Future[Receipt]] = []
            for _ in range(chance.randrange(1, 40)):
                n = len(got) + len(futures)
                one = ballot(chance.choice(polls), f"v{n % 50}", f"b{n}", f"o{1 + n % 4}")
                last[one.poll_id, one.voter_id] = one
                futures.append(here.ledger.cast(one))
            got += await answers(futures)
        between.cut = lambda: False
        assert len({one.id for one in receipts(got)}) == len(got)
        for poll in polls:
            seqs = [one.seq for one in receipts(got) if one.poll_id == poll]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "one seq each, in arrival order"
            state, _ = await here.ledger.read(poll)
            counted = {k: n for k, n in state.counts.items() if n}
            standing = [one.choices[0] for (id, _), one in last.items() if id == poll]
            assert counted == {option: standing.count(option) for option in set(standing)}
            assert state.voters == len(standing)
        assert sorted([id for poll in polls for id in await here.accepted(poll)]) == sorted(
            one.id for one in receipts(got)
        )


async def test_a_swallowed_reply_is_asked_for_again(beyond: World, between: Proxy) -> None:
    poll = await beyond.poll()
    receipts(await beyond.cast(ballot(poll, "bob", "a", "o1")))
    between.swallow = 1
    first = beyond.ledger.cast(ballot(poll, "ann", "a", "o1"))
    await between.swallowed.wait()
    later = beyond.ledger.cast(ballot(poll, "ann", "b", "o2"))
    a, b = receipts(await answers([first, later]))
    assert (a.repeated, b.repeated, b.seq) == (True, False, a.seq + 1)
    assert await beyond.accepted(poll) == ["a", "a", "b"]


async def test_later_ballots_never_overtake_a_batch_that_is_sent_again(beyond: World, between: Proxy) -> None:
    """The first sending is stuck; its copy and what came later go first; then it arrives."""
    poll = await beyond.poll()
    receipts(await beyond.cast(ballot(poll, "bob", "a", "o1")))
    connections = between.connections
    between.pause()
    first = beyond.ledger.cast(ballot(poll, "ann", "a", "o1"))
    await between.held.wait()
    later = [beyond.ledger.cast(ballot(poll, "ann", id, "o2")) for id in "bc"]
    while between.connections == connections:  # until it was sent again
        await asyncio.sleep(0.01)
    between.resume()
    got = receipts(await answers([first, *later]))
    assert [one.seq for one in got] == list(range(got[0].seq, got[0].seq + 3))
    assert await beyond.accepted(poll) == ["a", "a", "b", "c"]
    _, standing = await beyond.ledger.read(poll, "ann")
    assert standing is not None and standing.id == "c"


async def test_without_an_answer_it_is_unavailable_after_about_3_s_and_a_late_batch_writes_nothing(
    own_redis: RedisServer, between: Proxy
) -> None:
    async with world(own_redis.url, through=between.url) as here:
        poll = await here.poll()
        receipts(await here.cast(ballot(poll, "bob", "a", "o1")))
        log, (before, _) = await here.log(), await here.ledger.read(poll)
        between.pause()
        began = time.monotonic()
        sent = [ballot(poll, "ann", "a", "o1"), ballot(poll, "bob", "b", "o2")]
        assert await here.cast(*sent) == ["UNAVAILABLE"] * 2
        assert 3.25 <= time.monotonic() - began < 3.9, (
            "not before no copy of it can be executed, and no second later"
        )
        between.resume()
        after, standing = await here.ledger.read(poll, "ann")
        assert (after.seq, after.counts, standing) == (before.seq, before.counts, None)
        got = receipts(await here.cast(*sent))
        assert [one.repeated for one in got] == [False, False]
        assert await here.accepted(poll) == ["a", "a", "b"]
        assert (await here.log())[: len(log)] == log


async def test_a_refusal_is_final_though_a_copy_of_the_ballot_is_still_on_its_way(
    beyond: World, between: Proxy
) -> None:
    """The copy of a ballot that was refused before the opening arrives after it. The voter has chosen anew by then."""
    poll = await beyond.poll(opens_at=await beyond.time() + 3_600_000)
    assert await beyond.cast(ballot(poll, "bob", "a", "o1")) == ["POLL_NOT_OPEN"]
    connections = between.connections
    between.hold_first()
    early = await beyond.cast(ballot(poll, "ann", "a", "o1"))
    assert between.connections > connections
    await beyond.edit(poll, opens_at=await beyond.time())
    await beyond.cast(ballot(poll, "ann", "b", "o2"))
    between.resume()
    await between.delivered.wait()
    _, standing = await beyond.ledger.read(poll, "ann")
    assert standing is not None and standing.id == "b"
    assert early in (["POLL_NOT_OPEN"], ["UNAVAILABLE"])
    assert await beyond.accepted(poll) == ["b"]


async def test_a_full_redis_is_no_answer_while_a_copy_of_the_ballot_is_still_on_its_way(
    beyond: World, between: Proxy
) -> None:
    """The copy arrives when there is room again, and the voter has chosen anew."""
    poll = await beyond.poll()
    receipts(await beyond.cast(ballot(poll, "bob", "a", "o1")))
    connections = between.connections
    await beyond.direct.config_set("maxmemory", "1")
    between.hold_first()
    assert await beyond.cast(ballot(poll, "ann", "a", "o1")) == ["UNAVAILABLE"]
    assert between.connections > connections
    await beyond.direct.config_set("maxmemory", "0")
    receipts(await beyond.cast(ballot(poll, "ann", "b", "o2")))
    between.resume()
    await between.delivered.wait()
    _, standing = await beyond.ledger.read(poll, "ann")
    assert standing is not None and standing.id == "b"
    assert await beyond.accepted(poll) == ["a", "b"]


async def test_silence_of_one_server_is_survived_and_counted_once(beyond: World, between: Proxy) -> None:
    """Nothing passes for a while, on new connections neither."""
    poll = await beyond.poll()
    between.silence()
    futures = [beyond.ledger.cast(ballot(poll, f"v{n}", "a", "o1")) for n in range(300)]
    connections = between.connections
    while between.connections < connections + 2:
        await asyncio.sleep(0.01)
    between.speak()
    receipts(await answers(futures))
    assert (await beyond.ledger.read(poll))[0].voters == 300
    assert len(await beyond.accepted(poll)) == 300


async def test_callers_that_leave_mid_answer_give_nobody_anothers_answer(
    beyond: World, between: Proxy
) -> None:
    polls = [await beyond.poll() for _ in range(6)]
    for _ in range(3):
        between.pause()
        reads = [asyncio.ensure_future(beyond.ledger.read(poll, poll)) for poll in polls]
        await between.held.wait()
        for one in reads[::2]:
            one.cancel()
        between.resume()
        await asyncio.gather(*reads, return_exceptions=True)
        again = await asyncio.gather(*[beyond.ledger.read(poll) for poll in polls])
        assert [state.poll_id for state, _ in again] == polls
    for n, poll in enumerate(polls):
        receipts(await beyond.cast(*[ballot(poll, f"v{m}", "a", "o1") for m in range(n)]))
    states = await asyncio.gather(*[beyond.ledger.read(poll) for poll in polls])
    assert [state.voters for state, _ in states] == list(range(6))
