"""Web processes restarted one after the other, with many sockets on them."""

import asyncio
import os
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tools.faults.load import Poll
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage

BACK_SECONDS = 30.0
"""The longest `maxDelay` of the contract. With half of the instances gone, some clients fail several times in a row."""


class Sitter:
    """A viewer who comes back by the rules of ``WELCOME.reconnect``. ``codes``: what the sockets ended with."""

    def __init__(self, bases: list[str], poll: Poll, dice: random.Random) -> None:
        self._bases = bases
        self._poll = poll
        self._dice = dice
        self.there = False
        self.codes: list[int] = []

    async def run(self) -> None:
        delays: dict[str, float] = {"minDelay": 0.5, "maxDelay": 30.0}
        failures = 0
        while True:
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    self._dice.choice(self._bases).replace("http", "ws", 1) + "/ws",
                    compression=None, ping_interval=None, close_timeout=0.1, open_timeout=10, proxy=None,
                ) as socket:  # fmt: skip
                    failures = await self._sit(socket, delays, failures)
            self.there = False
            delay = min(delays["maxDelay"], delays["minDelay"] * 2**failures)
            failures += 1
            await asyncio.sleep(self._dice.uniform(0, delay))

    async def _sit(self, socket: ClientConnection, delays: dict[str, float], failures: int) -> int:
        try:
            async for text in socket:
                frame: dict[str, Any] = msgspec.json.decode(text)
                if frame["type"] == "WELCOME":
                    delays |= frame["reconnect"]
                    await socket.send(
                        msgspec.json.encode({"type": "JOIN_POLL", "pollId": self._poll.id}).decode()
                    )
                elif frame["type"] == "POLL_STATE":
                    self.there, failures = True, 0
                elif frame["type"] == "ERROR":
                    break
        except ConnectionClosed:
            pass
        if self.there:
            await socket.close()
            self.codes.append(socket.close_code or 0)
        return failures


async def run(round: Round) -> None:
    people = 2000 if round.full else 200
    async with round.stage() as stage, AsyncExitStack() as stack:
        scene = Scene(round, stage)
        (room,) = await scene.polls(1)
        sitters = [Sitter(stage.bases, room, random.Random(round.dice.random())) for _ in range(people)]
        tasks = [asyncio.create_task(sitter.run()) for sitter in sitters]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await _all_there(sitters, 60)
        slowest = 0.0
        for _ in range(round.times(1, 5)):
            async with scene.act(rate=100) as load:
                for number in range(2):
                    slowest = max(slowest, await _restart(round, stage, number, sitters))
                    await load.until_answered(20)
            round.hit(1)
        codes = {code for sitter in sitters for code in sitter.codes}
        if codes - {1012}:
            round.verdict.wrong.append(f"sockets ended with {sorted(codes)}")
        round.notes.append(
            f"{people:,} sockets, all back at most {slowest:.1f} s after their process was told to go"
        )


async def _restart(round: Round, stage: Stage, number: int, sitters: list[Sitter]) -> float:
    process = stage.webs[number]
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    while process.exit_code is None:
        if time.monotonic() - began > 20:
            round.verdict.wrong.append(f"{process.pid} runs 20 s after SIGTERM")
            process.kill_leader()
        await asyncio.sleep(0.02)
    stage.start_web(number)
    late = await _all_there(sitters, began + BACK_SECONDS - time.monotonic())
    if late:
        round.verdict.wrong.append(f"{late} of {len(sitters)} sockets are not back after {BACK_SECONDS} s")
        await _all_there(sitters, 60)
    took = time.monotonic() - began
    await stage.healed()
    return took


async def _all_there(sitters: list[Sitter], seconds: float) -> int:
    """How many are not, in the end."""
    end = time.monotonic() + seconds
    while (late := sum(not sitter.there for sitter in sitters)) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return late
