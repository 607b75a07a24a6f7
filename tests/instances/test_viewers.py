"""Viewers over both instances, and right again after one was killed."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.instances.conftest import OwnPair
from tests.instances.pair import Pair, in_room
from tools.harness.http import Person
from tools.harness.shapes import option_ids
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

SILENCE = 2.0


async def test_viewers_are_counted_over_both_instances_as_they_come_and_go(own: OwnPair) -> None:
    async with own() as pair, AsyncExitStack() as stack:
        poll = await pair.via_a.poll(await pair.via_a.user())
        on_a = await in_room(stack, pair.a, poll, 3)
        for sock in on_a:
            await sock.viewers(poll, 3)
        on_b = await in_room(stack, pair.b, poll, 4)
        for sock in on_a + on_b:
            await sock.viewers(poll, 7)
        on_a[0].abort()
        await on_b[0].leave(poll)
        for sock in on_a[1:] + on_b[1:]:
            await sock.viewers(poll, 5)
        async with socket(pair.a) as late:
            assert (await late.join(poll))["viewers"] == 6


async def test_the_first_on_an_instance_is_told_of_the_others_viewers(own: OwnPair) -> None:
    async with own() as pair, AsyncExitStack() as stack:
        poll = await pair.via_a.poll(await pair.via_a.user())
        await in_room(stack, pair.a, poll, 3)
        first = (await in_room(stack, pair.b, poll, 1))[0]
        await first.viewers(poll, 4)


async def test_the_viewers_of_an_instance_that_goes_down_are_forgotten_at_once(own: OwnPair) -> None:
    async with own(a={"TICK_MS": "2500"}) as pair, AsyncExitStack() as stack:  # no tick is left to tell it
        poll = await pair.via_a.poll(await pair.via_a.user())
        on_b = await in_room(stack, pair.b, poll, 2)
        async with AsyncExitStack() as short:
            await in_room(short, pair.a, poll, 3)
            for sock in on_b:
                await sock.viewers(poll, 5)
            await asyncio.to_thread(pair.a.stop)
            for sock in on_b:
                await sock.viewers(poll, 2)
        await asyncio.to_thread(pair.a.start)


async def killed(own: OwnPair, times: int) -> None:
    async with own({"VIEWER_SILENCE_SECONDS": str(SILENCE)}) as pair, AsyncExitStack() as stack:
        poll = await pair.via_b.poll(await pair.via_b.user())
        on_b = await in_room(stack, pair.b, poll, 4)
        healed = []
        for _ in range(times):
            async with AsyncExitStack() as short:
                for sock in await in_room(short, pair.a, poll, 3):
                    await sock.viewers(poll, 7)
                for sock in on_b:
                    await sock.viewers(poll, 7)
                await asyncio.to_thread(pair.a.kill)
                began = time.monotonic()
                for sock in on_b:
                    await sock.viewers(poll, 4, SILENCE + 0.5)
                healed.append(time.monotonic() - began)
            await asyncio.to_thread(pair.a.start)
        print(f"{times} kills, viewers right again after {min(healed):.2f} to {max(healed):.2f} s")


async def test_viewers_are_right_again_after_an_instance_was_killed(own: OwnPair) -> None:
    await killed(own, 3)


@pytest.mark.nightly
async def test_viewers_are_right_again_after_each_of_20_kills(own: OwnPair) -> None:
    await killed(own, 20)


async def test_in_a_room_of_more_than_500_viewers_alone_are_told_once_a_second(
    shared: Pair, owner: Person
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    who = await shared.via_a.guest()
    async with AsyncExitStack() as stack:
        crowd = [sock for server in shared.both for sock in await in_room(stack, server, poll, 260)]
        watcher = crowd[0]
        await watcher.viewers(poll, 520, timeout=10)
        mark, began = watcher.mark(), watcher.times[-1]
        for count in range(1, 13):
            await in_room(stack, shared.a, poll, 5)
            if count == 6:
                (await shared.via_b.vote(who, poll["id"], option_ids(poll)[:1])).fresh()
                voted = time.monotonic()
                await watcher.shows(poll, mark=mark, voters=1)
                print(f"a vote is shown after {time.monotonic() - voted:.2f} s")
        await watcher.viewers(poll, 580, timeout=10)
        updates = watcher.since(mark, "POLL_UPDATE")
        seconds = watcher.times[-1] - began
        assert len(updates) <= seconds / 0.9 + 2, f"{len(updates)} updates in {seconds:.1f} s"
