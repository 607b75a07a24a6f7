"""Pub/sub that is gone or silent is noticed, said and made good; a Redis that is away for all is something else."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
import redis.asyncio

from tests.instances.conftest import OwnPair
from tests.instances.pair import Pair, Site, Voting, in_room, readiness
from tools.harness.http import Person
from tools.harness.network import killed, proxy, stopped
from tools.harness.process import Server
from tools.harness.shapes import counted, option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

NOTICED = 5.0
DEAF = (503, "deaf")
READY = (200, "ready")
DEGRADED = (200, "degraded")


async def says(server: Server, wanted: tuple[int, str], seconds: float) -> float:
    """Wait until ``/readyz`` says so; how long that took."""
    began = time.monotonic()
    await eventually(lambda: readiness(server), lambda found: found == wanted, seconds, f"{wanted}")
    return time.monotonic() - began


async def test_an_instance_whose_pubsub_was_killed_is_deaf_until_it_listens_again(
    own: OwnPair, site: Site
) -> None:
    async with (
        redis.asyncio.from_url(site.redis.url) as client,
        proxy(site.redis) as between,
        own(b={"REDIS_URL": between.url}) as pair,
        AsyncExitStack() as stack,
    ):
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, guests=True)
        who, ended = await pair.via_a.guest(), await pair.via_a.guest()
        watchers = await in_room(stack, pair.b, poll, 3)
        bound = await stack.enter_async_context(socket(pair.b, ended))
        between.silence()  # so that it stays deaf for as long as it is looked at
        assert await client.client_kill_filter(_type="pubsub") >= 2, "one of each instance"
        took = await says(pair.b, DEAF, NOTICED)
        print(f"killed pub/sub: deaf said after {took * 1000:.0f} ms")
        (await pair.via_a.vote(who, poll["id"], option_ids(poll)[:1])).fresh()
        await pair.via_a.post("/auth/logout", None, ended)
        (await pair.via_b.vote(owner, poll["id"], option_ids(poll)[1:])).fresh()
        assert await readiness(pair.b) == DEAF
        between.speak()
        took = await says(pair.b, READY, NOTICED)
        for watcher in watchers:
            await watcher.shows(poll, voters=2)
        assert await bound.closed() == 4401
        print(f"ready {took * 1000:.0f} ms after Redis took subscribers again")
        mark = watchers[0].mark()
        (await pair.via_a.vote(await pair.via_a.guest(), poll["id"], option_ids(poll)[:1])).fresh()
        await watchers[0].shows(poll, mark=mark, timeout=2, voters=3)


async def test_nothing_is_missed_while_pubsub_is_killed_again_and_again_under_votes(
    shared: Pair, owner: Person, redis_client: "redis.asyncio.Redis"
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    work = Voting(poll, await shared.via_a.guests(60))
    async with AsyncExitStack() as stack:
        watchers = [sock for server in shared.both for sock in await in_room(stack, server, poll, 5)]
        for start in range(0, 60, 10):
            casting = [work.cast(shared.apis[index % 2], index) for index in range(start, start + 10)]
            await asyncio.gather(redis_client.client_kill_filter(_type="pubsub"), *casting)
        for watcher in watchers:
            frame = await watcher.shows(poll, timeout=10, voters=60)
            assert counted(frame["tally"]) == work.expected()
        await shared.ready()


async def test_a_half_open_pubsub_connection_is_noticed_within_5_seconds(own: OwnPair, site: Site) -> None:
    async with (
        proxy(site.redis) as between,
        own(b={"REDIS_URL": between.url}) as pair,
        AsyncExitStack() as stack,
    ):
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, guests=True)
        who = await pair.via_a.guest()
        watchers = await in_room(stack, pair.b, poll, 3)
        heard = between.subscribers
        between.silence()
        (await pair.via_a.vote(who, poll["id"], option_ids(poll)[:1])).fresh()
        took = await says(pair.b, DEAF, NOTICED)
        print(f"half-open: deaf said after {took:.2f} s")
        assert await readiness(pair.a) == READY
        between.speak()
        took = await says(pair.b, READY, NOTICED)
        assert between.subscribers > heard
        for watcher in watchers:
            await watcher.shows(poll, voters=1)
        print(f"ready {took:.2f} s after the network spoke again")


async def test_a_stopped_redis_is_degraded_and_not_deaf_and_everything_comes_back(
    shared: Pair, owner: Person, site: Site
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    voters = await shared.via_a.guests(12)
    work = Voting(poll, voters)
    async with AsyncExitStack() as stack:
        watchers = [sock for server in shared.both for sock in await in_room(stack, server, poll, 2)]
        on_b = await stack.enter_async_context(socket(shared.b, voters[11]))
        for index in range(4):
            await work.cast(shared.apis[index % 2], index)
        epoch = (await shared.via_a.tally(poll))["epoch"]
        with stopped(site.redis):
            began = time.monotonic()
            late = asyncio.create_task(
                shared.via_a.post(
                    f"/polls/{poll['id']}/votes",
                    {"optionIds": work.choice(4), "id": "v4"},
                    voters[4],
                    allow_5xx=True,
                )
            )
            over_socket = await on_b.vote(poll["id"], work.choice(11), id="v11")
            response = await late
            print(f"votes refused after {time.monotonic() - began:.1f} s")
            assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
            assert response.json()["retryAfter"] > 0
            assert over_socket.refused("UNAVAILABLE")["retryAfter"] > 0
            for server in shared.both:
                assert await readiness(server) == DEGRADED
        for index in range(4, 12):
            await work.cast(shared.apis[index % 2], index)
        for watcher in watchers:
            frame = await watcher.shows(poll, timeout=10, voters=12)
            assert (frame["tally"]["epoch"], counted(frame["tally"])) == (epoch, work.expected())
        await shared.ready()


async def test_no_acked_vote_is_lost_when_redis_is_killed_and_comes_back_on_its_data(
    shared: Pair, owner: Person, site: Site
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    work = Voting(poll, await shared.via_a.guests(60))
    seen: dict[tuple[int, str], int] = {}
    stop = asyncio.Event()

    async def observe(server: Server) -> None:
        while not stop.is_set():
            found = await readiness(server)
            seen[found] = seen.get(found, 0) + 1

    async with AsyncExitStack() as stack:
        watchers = [sock for server in shared.both for sock in await in_room(stack, server, poll, 2)]
        epoch = (await shared.via_a.tally(poll))["epoch"]
        casting = [asyncio.create_task(work.cast(shared.apis[index % 2], index)) for index in range(30)]
        while len(work.acked) < 5:
            await asyncio.wait(casting, return_when=asyncio.FIRST_COMPLETED, timeout=0.001)
        with killed(site.redis):
            observing = [asyncio.create_task(observe(server)) for server in shared.both]
            casting += [
                asyncio.create_task(work.cast(shared.apis[index % 2], index)) for index in range(30, 60)
            ]
            for server in shared.both:
                await says(server, DEGRADED, 5)
            before = len(work.acked)
        await asyncio.gather(*casting)
        stop.set()
        await asyncio.gather(*observing)
        for watcher in watchers:
            frame = await watcher.shows(poll, timeout=10, voters=60)
            assert (frame["tally"]["epoch"], counted(frame["tally"])) == (epoch, work.expected())
        await shared.ready()
    print(f"{before} acked before, {work.unknown} answers UNAVAILABLE; readiness seen: {seen}")
    assert set(seen) <= {READY, DEGRADED, DEAF}
