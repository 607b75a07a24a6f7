"""One room over two instances: every change reaches every socket, also where the instance that was asked is dead."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from tests.instances.conftest import OwnPair
from tests.instances.pair import Pair, Voting, in_room
from tools.harness.http import Person
from tools.harness.shapes import option_ids, public
from tools.harness.wait import SOON, ahead, eventually
from tools.harness.websocket import Socket, socket

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def watching(pair: Pair, poll: dict[str, Any]) -> AsyncIterator[tuple[Socket, Socket]]:
    """A socket in the poll's room on each instance."""
    async with socket(pair.a) as on_a, socket(pair.b) as on_b:
        await on_a.join(poll)
        await on_b.join(poll)
        yield on_a, on_b


async def test_votes_on_one_instance_are_seen_on_the_other(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    tea = option_ids(poll)[:1]
    late: list[float] = []
    async with watching(shared, poll) as watchers:
        for number, voter in enumerate(await shared.via_a.guests(30), 1):
            here, there = (0, 1) if number % 2 else (1, 0)
            answer = await shared.apis[here].vote(voter, poll["id"], tea)
            answered = asyncio.get_running_loop().time()
            watcher: Socket = watchers[there]
            mark = watcher.mark()
            seq = answer.fresh()["seq"]
            frame = await watcher.shows(poll, seq=lambda found, seq=seq: found >= seq)
            index = watcher.frames.index(frame)
            late.append(max(0.0, watcher.times[index] - answered) if index >= mark else 0.0)
            assert frame["tally"]["voters"] >= number
    late.sort()
    print(
        f"seen on the other instance after the answer: median {late[15] * 1000:.0f}, worst {late[-1] * 1000:.0f} ms"
    )


async def test_edits_reach_both_instances_whichever_took_them(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, resultsVisibility="owner")
    async with watching(shared, poll) as watchers:
        for number, api in enumerate(shared.apis * 2):
            question = f"Question {number}?"
            edited = await api.edit(owner, poll, question=question)
            changes = [
                await watcher.expect("POLL_CHANGED", poll={"question": question}) for watcher in watchers
            ]
            assert changes[0]["poll"] == changes[1]["poll"] == public(edited)
            assert changes[0]["tally"] == changes[1]["tally"]
        await shared.via_b.edit(owner, poll, resultsVisibility="always")
        for watcher in watchers:
            assert (
                "counts"
                in (await watcher.expect("POLL_CHANGED", poll={"resultsVisibility": "always"}))["tally"]
            )


async def test_a_poll_that_was_read_before_an_edit_elsewhere_is_read_anew(
    shared: Pair, owner: Person
) -> None:
    poll = await shared.via_a.poll(owner)
    for number, api in enumerate(shared.apis * 4):
        edited = await api.edit(owner, poll, question=f"Question {number}?")
        assert [(await one.state(poll))["poll"] for one in shared.apis] == [public(edited), public(edited)]


async def test_opening_and_closing_by_hand_reach_both_instances(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, opensAt=ahead(3600))
    async with watching(shared, poll) as watchers:
        await shared.via_b.open(owner, poll)
        for watcher in watchers:
            await watcher.expect("POLL_CHANGED", poll={"status": "open"})
        await shared.via_a.vote(owner, poll["id"], option_ids(poll)[:1])
        closed = await shared.via_a.close(owner, poll)
        for watcher in watchers:
            frame = await watcher.expect("POLL_CHANGED", poll={"status": "closed"})
            assert (frame["poll"], frame["tally"]) == (public(closed["poll"]), closed["tally"])
    (await shared.via_b.vote(await shared.via_b.user(), poll["id"], option_ids(poll)[:1])).refused(
        "POLL_CLOSED"
    )


async def test_opening_and_closing_by_time_reach_both_instances(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, opensAt=ahead(SOON), closesAt=ahead(SOON + 1))
    async with watching(shared, poll) as watchers:
        opened = [await watcher.expect("POLL_CHANGED", poll={"status": "open"}) for watcher in watchers]
        closed = [await watcher.expect("POLL_CHANGED", poll={"status": "closed"}) for watcher in watchers]
    for one, two in (opened, closed):
        assert (one["poll"], one["tally"]) == (two["poll"], two["tally"])
    assert closed[0]["tally"]["final"]


async def test_a_deletion_reaches_both_instances(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner)
    async with watching(shared, poll) as watchers:
        await shared.via_a.delete(f"/polls/{poll['id']}", owner)
        for watcher in watchers:
            await watcher.expect("POLL_DELETED", pollId=poll["id"])
    assert [(await api.get(f"/polls/{poll['id']}")).status_code for api in shared.apis] == [404, 404]


async def test_who_joins_while_votes_run_elsewhere_misses_none(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    work = Voting(poll, await shared.via_a.guests(80))

    async def votes() -> None:
        for index in range(80):
            await work.cast(shared.via_a, index)

    async with contextlib.AsyncExitStack() as stack:
        voting = asyncio.create_task(votes())
        sockets: list[Socket] = []
        while not voting.done():
            sockets += await in_room(stack, shared.b, poll, 1)
            state = sockets[-1].frames[-1]
            assert state["tally"]["voters"] >= sum(state["tally"]["counts"].values())
        await voting
        for sock in sockets:
            await sock.shows(poll, voters=80)
    print(f"{len(sockets)} sockets joined while 80 votes ran")


async def test_an_instance_listens_to_a_poll_only_while_somebody_watches(
    own: OwnPair, redis_client: "redis.asyncio.Redis"
) -> None:
    async with own({"VIEWER_SILENCE_SECONDS": "1"}) as pair:
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, guests=True)

        async def listeners() -> int:
            channels = await redis_client.pubsub_channels(f"*{poll['id']}*")
            return sum(count for _, count in await redis_client.pubsub_numsub(*channels)) if channels else 0

        assert await listeners() == 0
        async with socket(pair.b) as watcher:
            await watcher.join(poll)
            assert await listeners() == 1
            async with socket(pair.a) as another:
                await another.join(poll)
                assert await listeners() == 2
            await eventually(listeners, lambda count: count == 1, 10, "one listener")
            (await pair.via_a.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
            await watcher.shows(poll, voters=1)
        await eventually(listeners, lambda count: count == 0, 10, "no listener")
        (await pair.via_a.vote(await pair.via_a.guest(), poll["id"], option_ids(poll)[:1])).fresh()
        async with socket(pair.b) as watcher:
            assert (await watcher.join(poll))["tally"]["voters"] == 2
            (await pair.via_a.vote(await pair.via_a.guest(), poll["id"], option_ids(poll)[:1])).fresh()
            await watcher.shows(poll, voters=3)


async def test_a_poll_closes_on_time_though_the_instance_that_was_asked_is_dead(own: OwnPair) -> None:
    async with own() as pair:
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, closesAt=ahead(SOON))
        (await pair.via_a.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
        async with socket(pair.b) as watcher:
            await watcher.join(poll)
            await asyncio.to_thread(pair.a.kill)
            frame = await watcher.expect("POLL_CHANGED", poll={"status": "closed"})
            assert (frame["tally"]["final"], frame["tally"]["voters"]) == (True, 1)
            assert frame["poll"]["closesAt"] == poll["closesAt"] <= frame["serverTime"]
        late = await pair.via_b.vote(await pair.via_b.user(), poll["id"], option_ids(poll)[:1])
        late.refused("POLL_CLOSED")


async def test_a_process_killed_between_vote_and_tick_still_leads_to_the_last_tally(own: OwnPair) -> None:
    async with own(a={"TICK_MS": "10000"}) as pair:
        owner = await pair.via_b.user()
        poll = await pair.via_b.poll(owner, guests=True)
        voters = await pair.via_b.guests(20)
        async with contextlib.AsyncExitStack() as stack:
            watchers = await in_room(stack, pair.b, poll, 3)
            here = await in_room(stack, pair.a, poll, 1)
            answers = await asyncio.gather(
                *(pair.via_a.vote(voter, poll["id"], option_ids(poll)[:1]) for voter in voters)
            )
            began = time.monotonic()
            await asyncio.to_thread(pair.a.kill)
            seq = max(answer.fresh()["seq"] for answer in answers)
            for watcher in watchers:
                frame = await watcher.shows(poll, seq=lambda found: found >= seq)
                assert frame["tally"]["voters"] == 20
            print(f"shown elsewhere {(time.monotonic() - began) * 1000:.0f} ms after the kill began")
            assert here[0].frames[-1]["tally"]["voters"] < 20, "A's own tick was not to come before its end"
