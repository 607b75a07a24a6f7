"""A slow reader hurts only itself."""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import psutil
import pytest

from tests.instances.conftest import OwnPair
from tests.instances.pair import in_room
from tests.instances.stalled import Stalled, masked
from tools.harness.process import Server
from tools.harness.shapes import counted, option_ids, poll_of
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, socket

pytestmark = pytest.mark.anyio

MIB = 1 << 20
STALE = 1_000


def resident(server: Server) -> int:
    return int(psutil.Process(server.processes[0].pid).memory_info().rss)


def connected(server: Server, client: Stalled) -> bool:
    """Whether the server still has its end of the client's connection."""
    process = psutil.Process(server.processes[0].pid)
    return any(end.raddr and end.raddr.port == client.port for end in process.net_connections("tcp"))


async def disconnected(server: Server, client: Stalled, seconds: float) -> float:
    began = time.monotonic()

    async def gone() -> bool:
        return not await asyncio.to_thread(connected, server, client)

    await eventually(gone, bool, seconds, "an end of the one that does not read")
    return time.monotonic() - began


def _came(sock: Socket, frames: int) -> bool | None:
    return True if sock.mark() >= frames else None


async def changing(sock: Socket, poll: dict[str, Any], stop: asyncio.Event) -> tuple[str, int]:
    """Change the vote again and again, 64 times at most; the last option and how many votes."""
    options = option_ids(poll)
    for number in range(64):
        if stop.is_set() and number:
            return options[(number - 1) % len(options)], number
        (await sock.vote(poll["id"], [options[number % len(options)]], id=f"b{number}")).fresh()
    return options[63 % len(options)], 64


async def test_one_that_never_reads_among_200_changes_nothing_for_the_others(own: OwnPair) -> None:
    # 230 clients in this process answer pings: within a second it is not always their turn.
    async with own({"PING_INTERVAL": "3"}) as pair, AsyncExitStack() as stack:
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, guests=True, allowChange=True)
        watchers = [sock for server in pair.both for sock in await in_room(stack, server, poll, 100)]
        voters = [
            await stack.enter_async_context(socket(server, guest))
            for server, guest in zip(itertools.cycle(pair.both), await pair.via_a.guests(30), strict=False)
        ]
        before = resident(pair.a)
        stalled = Stalled(pair.a, 4096)
        stack.callback(stalled.close)
        stalled.send({"type": "JOIN_POLL", "pollId": poll["id"]})
        await watchers[0].viewers(poll, 201)
        stop = asyncio.Event()
        gone = asyncio.create_task(disconnected(pair.a, stalled, 12))
        gone.add_done_callback(lambda _: stop.set())
        cast: list[tuple[str, int]] = []
        waiting = iter(voters)

        async def lane() -> None:
            for voter in waiting:
                if not cast or not stop.is_set():
                    cast.append(await changing(voter, poll, stop))

        await asyncio.gather(*(lane() for _ in range(3)))
        took = await gone
        expected: dict[str, int] = {}
        for option, _ in cast:
            expected[option] = expected.get(option, 0) + 1
        tally = await pair.via_b.tally(poll)
        assert counted(tally) == expected
        for sock in watchers:
            await sock.shows(poll, seq=tally["seq"])
            await sock.viewers(poll, 200)
        grown = (resident(pair.a) - before) / MIB
        while await asyncio.to_thread(stalled.read, 2.0):
            pass
        assert stalled.close_code in (4408, None)
        print(
            f"{sum(number for _, number in cast)} votes; the stalled one was dropped after {took:.1f} s "
            f"(close code {stalled.close_code}), memory {grown:+.1f} MiB"
        )
        assert grown < 30


async def test_one_that_reads_again_after_a_pause_finds_little_that_is_stale_and_nothing_going_back(
    own: OwnPair,
) -> None:
    # No pings: the pause is as long as 20,480 votes take here.
    async with own({"TICK_MS": "10", "PING_INTERVAL": "3600"}) as pair, AsyncExitStack() as stack:
        owner = await pair.via_a.user()
        polls = [await pair.via_a.poll(owner, guests=True, allowChange=True) for _ in range(32)]
        paused = Stalled(pair.a)
        stack.callback(paused.close)
        control = await stack.enter_async_context(socket(pair.a))
        for poll in polls:
            paused.send({"type": "JOIN_POLL", "pollId": poll["id"]})
            await control.join(poll)
        await control.viewers(polls[-1], 2)
        before = resident(pair.a)
        voters = [
            await stack.enter_async_context(socket(pair.a, guest)) for guest in await pair.via_a.guests(10)
        ]

        async def vote(sock: Socket) -> None:
            """All polls at once, and the next round when they are answered."""
            for number in range(64):
                for poll in polls:
                    option = option_ids(poll)[number % 2]
                    message = {
                        "type": "VOTE",
                        "pollId": poll["id"],
                        "optionIds": [option],
                        "id": f"b{number}",
                    }
                    await sock.send(message)
                answered = partial(_came, sock, 2 + (number + 1) * len(polls))
                await sock.until(answered, "answers", 10)

        await asyncio.gather(*map(vote, voters))
        newest = {poll["id"]: await pair.via_a.tally(poll) for poll in polls}
        for poll in polls:
            await control.shows(poll, seq=newest[poll["id"]]["seq"], timeout=10)
        assert control.mark() > 1.5 * STALE, f"too few updates to tell: {control.mark()}"

        def shown() -> bool:
            told = [frame for frame in paused.texts if "tally" in frame]
            return {poll_of(frame) for frame in told if frame["tally"] == newest[str(poll_of(frame))]} == set(
                newest
            )

        end = time.monotonic() + 10
        while time.monotonic() < end:
            assert await asyncio.to_thread(paused.read, 1.0), f"it was dropped ({paused.close_code})"
            if paused.texts and await asyncio.to_thread(shown):
                break
        assert shown()
        tallies = [frame for frame in paused.texts if "tally" in frame]
        for poll in polls:
            pairs = [(f["tally"]["epoch"], f["tally"]["seq"]) for f in tallies if poll_of(f) == poll["id"]]
            assert pairs == sorted(pairs)
        stale = sum(frame["tally"] != newest[str(poll_of(frame))] for frame in tallies)
        grown = (resident(pair.a) - before) / MIB
        print(
            f"{control.mark()} frames to the one that read, {stale} stale to the one that paused; {grown:+.1f} MiB"
        )
        assert stale <= STALE
        assert grown < 30


@pytest.mark.parametrize("opcode", [1, 9], ids=["messages", "pings"])
async def test_one_that_asks_without_reading_is_dropped_with_bounded_memory(
    own: OwnPair, opcode: int
) -> None:
    async with own({"PING_INTERVAL": "1"}) as pair:
        before = resident(pair.a)
        payload = b'{"type":"PING"}' if opcode == 1 else b"x" * 120
        chunk = b"".join(masked(opcode, payload) for _ in range(400))
        stalled = Stalled(pair.a, 4096)
        sent = worst = 0
        began = time.monotonic()

        def flood() -> None:
            nonlocal sent, worst
            while time.monotonic() - began < 10:
                try:
                    stalled.send_bytes(chunk)
                except (ConnectionError, TimeoutError):
                    return
                sent += len(chunk)
                worst = max(worst, resident(pair.a) - before)

        await asyncio.to_thread(flood)
        took = time.monotonic() - began
        await disconnected(pair.a, stalled, 5)
        stalled.close()
        print(f"{sent / MIB:.1f} MiB sent, dropped after {took:.1f} s, memory {worst / MIB:+.1f} MiB")
        assert worst < 30 * MIB
        async with socket(pair.a) as another:
            await another.settle()
