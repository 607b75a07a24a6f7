"""No room: under Redis, under MariaDB, and in Redis's memory. Nothing false is acknowledged, and room heals."""

import asyncio
import errno
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tools.faults.load import Load
from tools.faults.scene import NotInjected, Round, Scene
from tools.faults.stage import Stage, up
from tools.servers import DURABLE, MariaDB, RedisServer, Server, redis_binary

REDIS_MB, MARIADB_MB = 128, 400
"""More than the load writes there; Redis rewrites its file at 64 MB at the earliest."""
FULL_SECONDS = 6.0
RATE = 400.0


@asynccontextmanager
async def small_disk(folder: Path, megabytes: int) -> AsyncIterator[Path]:
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "pollroom", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotInjected(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def fill(disk: Path, name: str = "ballast") -> Path:
    """To the last byte, with a file of that name."""
    ballast = disk / name
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    if file.write(b"x" * size) < size:
                        break
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


async def run(round: Round) -> None:
    async with AsyncExitStack() as stack:
        redis_disk = await stack.enter_async_context(small_disk(round.folder / "redis-disk", REDIS_MB))
        sql_disk = await stack.enter_async_context(small_disk(round.folder / "mariadb-disk", MARIADB_MB))
        redis = RedisServer(redis_disk / "redis", redis_binary(), DURABLE)
        database = MariaDB(sql_disk / "mariadb")
        stage = await stack.enter_async_context(Stage(round.folder, redis=redis, database=database))
        scene = Scene(round, stage)
        for _ in range(round.times(1, 10)):
            async with scene.act(rate=RATE) as load:
                await _full(round, load, stage.redis, redis_disk)
                await _memory(round, load, stage)
        for _ in range(round.times(1, 10)):
            async with scene.act(rate=RATE) as load:
                await _full(round, load, stage.database, sql_disk)


async def _full(round: Round, load: Load, server: Server, disk: Path) -> None:
    """The server may end for want of room (Redis does, with ``always``); then it is started again, as a service is."""
    ballast = fill(disk)
    round.hit()
    refused, until = load.codes.get("UNAVAILABLE", 0), time.monotonic() + FULL_SECONDS
    # A ballot is told so when Redis was silent for 3 s.
    while time.monotonic() < until and load.codes.get("UNAVAILABLE", 0) < refused + 5:
        await asyncio.sleep(0.05)
    ended = server.process.poll() is not None
    ballast.unlink()
    if ended:
        round.notes.append(f"{type(server).__name__} ended")
        await up(server)
    if isinstance(server, RedisServer) and load.codes.get("UNAVAILABLE", 0) == refused:
        round.verdict.wrong.append("Redis had no room, and nobody was told UNAVAILABLE")
    await load.until_answered(100, 90)


async def _memory(round: Round, load: Load, stage: Stage) -> None:
    refused = load.codes.get("UNAVAILABLE", 0)
    round.planned += 1
    async with stage.client() as client:
        await client.config_set("maxmemory", "1mb")
        round.hit()
        until = time.monotonic() + FULL_SECONDS
        while time.monotonic() < until and load.codes.get("UNAVAILABLE", 0) < refused + 5:
            await asyncio.sleep(0.05)
        await client.config_set("maxmemory", "0")
    if load.codes.get("UNAVAILABLE", 0) == refused:
        round.verdict.wrong.append("Redis had no memory, and nobody was told UNAVAILABLE")
    await load.until_answered(100, 90)
