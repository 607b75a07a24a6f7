"""kill -9 of each process, and of all at once."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tools.faults.gate import Fate, gate
from tools.faults.load import Load
from tools.faults.scene import Round, Scene
from tools.faults.stage import up

TRIM = Path(__file__).parents[2] / "app" / "adapters" / "redis" / "scripts" / "trim.lua"
PARTITIONS = 16
ACT = 25
"""Kills under one load, before everything is checked."""


async def _repeated(round: Round, scene: Scene, count: int, one: Callable[[Load], Awaitable[None]]) -> None:
    goal = 0
    while goal < count:
        goal = min(count, round.injected + ACT)
        async with scene.act() as load:
            while round.injected < goal and not load.spent:
                await load.until_answered(round.dice.randrange(5, 60))
                await one(load)
                round.hit()


async def web(round: Round) -> None:
    async with round.stage() as stage:

        async def kill(_: Load) -> None:
            number = round.dice.randrange(2)
            stage.webs[number].kill_leader()
            stage.start_web(number)
            await stage.healed()

        await _repeated(round, Scene(round, stage), round.times(3, 200), kill)


async def worker(round: Round) -> None:
    """Between COMMIT and trim: the trimming never reaches Redis."""
    digest = hashlib.sha1(TRIM.read_bytes()).hexdigest().encode()
    async with round.stage() as stage, AsyncExitStack() as stack:
        gates = [await stack.enter_async_context(gate(stage.redis.port)) for _ in range(2)]
        for number in range(2):
            stage.worker[number] = {"REDIS_URL": f"redis://127.0.0.1:{gates[number].port}/0"}
        await stage.restart()

        async def kill(_: Load) -> None:
            for one in gates:
                one.arm(request=lambda data: Fate.HOLD if digest in data else Fate.PASS)
            waits = [asyncio.create_task(one.held.wait()) for one in gates]
            async with asyncio.timeout(60):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            number = 0 if gates[0].held.is_set() else 1
            stage.workers[number].kill_leader()
            # What waits is lost with the process, as it would be.
            await gates[number].close()
            for one, wait in zip(gates, waits, strict=True):
                one.release()
                wait.cancel()
            stage.start_worker(number)

        await _repeated(round, Scene(round, stage), round.times(3, 200), kill)


async def redis(round: Round) -> None:
    async with round.stage() as stage:

        async def kill(_: Load) -> None:
            stage.redis.kill()
            await asyncio.sleep(round.dice.uniform(0, 0.5))
            await up(stage.redis)

        await _repeated(round, Scene(round, stage), round.times(4, 100), kill)


async def mariadb(round: Round) -> None:
    """While a transaction has rows written and not committed."""
    async with round.stage() as stage:

        async def kill(_: Load) -> None:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                # A batch begins with its offset. (InnoDB's list of transactions is not read anew within 0.1 s.)
                free = await stage.sql(
                    "SELECT `partition` FROM log_offsets WHERE reader = 'sql' FOR UPDATE SKIP LOCKED"
                )
                if len(free) < PARTITIONS:
                    break
            stage.database.kill()
            await up(stage.database)

        await _repeated(round, Scene(round, stage), round.times(2, 50), kill)


async def everything(round: Round) -> None:
    async with round.stage() as stage:

        async def kill(_: Load) -> None:
            pids = [process.pid for process in [*stage.webs, *stage.workers]]
            pids += [stage.redis.process.pid, stage.database.process.pid]
            round.dice.shuffle(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for process in [*stage.webs, *stage.workers]:
                process.kill_leader()
            for server in (stage.redis, stage.database):
                server.process.wait()
                server.spawn()
            await asyncio.gather(up(stage.redis, spawned=True), up(stage.database, spawned=True))
            for number in range(2):
                stage.start_web(number)
                stage.start_worker(number)
            await stage.healed()

        await _repeated(round, Scene(round, stage), round.times(1, 50), kill)
