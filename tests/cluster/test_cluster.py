"""Redis Cluster: partitions on three masters, one of them lost, a slot on its way to another, all while votes run."""

import asyncio
import signal
import threading
from contextlib import AsyncExitStack

import pytest

from tests.cluster.conftest import OpenSite
from tests.cluster.site import Site, Voted
from tests.instances.pair import Pair, readiness
from tools.harness.http import Person
from tools.harness.wait import eventually
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio


async def crowd(pair: Pair, count: int) -> tuple[Person, list[Person]]:
    return await pair.via_a.user(), await pair.via_a.guests(count)


async def equal(pair: Pair, voted: Voted) -> None:
    """Both instances show every acknowledged ballot, once."""
    for api in pair.apis:
        tally = await api.tally(voted.poll)
        assert (tally["counts"], tally["voters"]) == (voted.counts, len(voted.acked)), voted


async def test_votes_and_rooms_on_all_masters(site: Site) -> None:
    owner, voters = await crowd(site.pair, 8)
    polls = await site.polls(owner)
    assert all(site.master_partitions(number) for number in range(3))
    async with AsyncExitStack() as stack:
        rooms = []
        for number, voted in enumerate(polls):
            room = await stack.enter_async_context(socket(site.pair.both[number % 2]))
            await room.join(voted.poll)
            rooms.append(room)
        await site.vote(polls, voters)
        for room, voted in zip(rooms, polls, strict=True):
            shown = await room.shows(voted.poll, voters=len(voters))
            assert shown["tally"]["counts"] == voted.counts
    for voted in polls:
        assert not voted.unknown
        await equal(site.pair, voted)
        for first, answer in zip(voted.acked.values(), await voted.again(site.pair, voters), strict=True):
            answer.repeats(first)


async def test_logout_reaches_the_other_instance(site: Site) -> None:
    """A plain channel, which every node passes on."""
    person = await site.pair.via_a.user()
    async with socket(site.pair.b, person) as live:
        await site.pair.via_a.post("/auth/logout", None, person)
        assert await live.closed() == 4401


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_master_is_lost_while_votes_run(site: Site, how: str) -> None:
    """``stopped``: it comes back while votes run, and holds itself for the master at first."""
    owner, voters = await crowd(site.pair, 150)
    polls = await site.polls(owner)
    lost = site.master_partitions(0)
    there = [voted for voted in polls if voted.partition in lost]
    elsewhere = [voted for voted in polls if voted.partition not in lost]
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(socket(site.pair.b))
        await room.join(there[0].poll)
        voting = asyncio.create_task(site.vote(polls, voters))
        await until(lambda: min(len(voted.acked) for voted in polls) > 20)
        master = site.cluster.masters[0]
        if how == "killed":
            master.kill()
        else:
            master.process.send_signal(signal.SIGSTOP)
        before = [len(voted.acked) for voted in elsewhere]
        await until(lambda: all(len(v.acked) > n + 5 for v, n in zip(elsewhere, before, strict=True)))
        # Nobody has been promoted yet: that takes longer than the time after which a node counts as lost.
        assert not any(voted.unknown for voted in elsewhere)
        stood = [len(voted.acked) for voted in there]
        assert max(stood) < len(voters)
        await until(lambda: all(len(v.acked) > n for v, n in zip(there, stood, strict=True)))
        assert not voting.done()
        if how == "stopped":
            master.process.send_signal(signal.SIGCONT)
        await voting
        assert not any(voted.unknown for voted in elsewhere)
        again = {v.poll["id"]: await v.again(site.pair, voters) for v in polls}
        for voted in polls:
            await equal(site.pair, voted)
        for voted in elsewhere:
            for first, answer in zip(voted.acked.values(), again[voted.poll["id"]], strict=True):
                answer.repeats(first)
        shown = await room.shows(there[0].poll, timeout=10, voters=len(voters))
        assert shown["tally"]["counts"] == there[0].counts
    for voted in polls:
        epoch = (await site.pair.via_a.tally(voted.poll))["epoch"]
        assert (epoch > 1) == (voted.partition in lost), voted.partition
    for server in site.pair.both:
        await eventually(lambda server=server: readiness(server), lambda found: found == (200, "ready"), 15)  # type: ignore[misc]
    if how == "killed":
        master.start()
    await until(site.cluster.whole)


async def test_a_master_without_replica_restarts(open_site: OpenSite) -> None:
    """Its polls wait, the others do not notice, and nothing that was acknowledged is missing: no new epoch."""
    async with open_site(replicas=False) as site:
        owner, voters = await crowd(site.pair, 60)
        lost = site.master_partitions(0)
        polls = await site.polls(owner)
        there = [voted for voted in polls if voted.partition in lost]
        elsewhere = [voted for voted in polls if voted.partition not in lost]
        voting = asyncio.create_task(site.vote(polls, voters))
        await until(lambda: min(len(voted.acked) for voted in polls) > 10)
        site.cluster.masters[0].kill()
        await until(lambda: all(len(voted.acked) == len(voters) for voted in elsewhere))
        assert not any(voted.unknown for voted in elsewhere)
        assert not any(len(voted.acked) == len(voters) for voted in there)
        for server in site.pair.both:
            assert await readiness(server) == (200, "degraded")
        site.cluster.masters[0].start()
        await voting
        for voted in polls:
            await equal(site.pair, voted)
            assert (await site.pair.via_a.tally(voted.poll))["epoch"] == 1


@pytest.mark.parametrize("replicas", [True, False])
async def test_a_slot_moves_while_votes_run(open_site: OpenSite, replicas: bool) -> None:
    """Nothing is lost or doubled. Where no replica can have less than its master, clients see no new epoch."""
    async with open_site(replicas) as site:
        owner, voters = await crowd(site.pair, 150)
        moving = min(site.master_partitions(0))
        polls = await site.polls(owner, [moving, *(p for p in range(0, 16, 5) if p != moving)], each=3)
        async with AsyncExitStack() as stack:
            room = await stack.enter_async_context(socket(site.pair.b))
            await room.join(polls[0].poll)
            voting = asyncio.create_task(site.vote(polls, voters))
            await until(lambda: min(len(voted.acked) for voted in polls) > 20)
            pause = threading.Event()
            assert not voting.done()
            before = [len(voted.acked) for voted in polls]
            await asyncio.to_thread(
                site.cluster.move, moving, site.cluster.masters[1], lambda: pause.wait(0.05) and None
            )
            assert not voting.done()
            moved = [voted.partition == moving for voted in polls]
            assert all(
                here or len(voted.acked) > n for voted, n, here in zip(polls, before, moved, strict=True)
            )
            await voting
            for voted in polls:
                await equal(site.pair, voted)
                await room.join(voted.poll)
                shown = await room.shows(voted.poll, voters=len(voters))
                assert shown["tally"]["counts"] == voted.counts
                grown = (await site.pair.via_a.tally(voted.poll))["epoch"] > 1
                assert grown == (replicas and voted.partition == moving)
                for first, answer in zip(
                    voted.acked.values(), await voted.again(site.pair, voters), strict=True
                ):
                    answer.repeats(first)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async def probe() -> bool:
        return bool(condition())

    await eventually(probe, bool, 30)
