"""A power cut for Redis and SQL: every byte that was not fsynced is gone. ``always`` loses nothing, ``everysec`` must lose."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tools.faults.embedded import Embedded
from tools.faults.journal import Outcome
from tools.faults.load import Load
from tools.faults.scene import NotInjected, Round, Scene
from tools.faults.stage import Stage, up
from tools.servers import DURABLE, MariaDB, RedisServer, redis_binary

SOURCE = Path(__file__).parent / "cutfs.c"
ACT = 5


class Disk:
    """``folder``: where it is mounted. See ``cutfs.c``."""

    def __init__(self, base: Path, program: Path) -> None:
        self._live, self._durable, self.folder = base / "live", base / "durable", base / "disk"
        for path in (self._live, self._durable, self.folder):
            path.mkdir(parents=True)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._mount()

    def _mount(self) -> None:
        command = [str(self._program), str(self._live), str(self._durable), str(self.folder)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        end = time.monotonic() + 10
        while not os.path.ismount(self.folder):
            if self._process.poll() is not None or time.monotonic() > end:
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise NotInjected(f"FUSE cannot be mounted here: {said.strip()}")
            time.sleep(0.01)

    def unmount(self) -> None:
        process = self._process
        if process is not None:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()

    def cut(self) -> None:
        """What was synced is all there is. Nobody may have it open."""
        self.unmount()
        shutil.rmtree(self._live)
        subprocess.run(["cp", "-a", str(self._durable), str(self._live)], check=True)
        self._mount()

    def settle(self) -> None:
        """All that is there is synced, as long after it was made. Nobody may have it open."""
        self.unmount()
        shutil.rmtree(self._durable)
        subprocess.run(["cp", "-a", str(self._live), str(self._durable)], check=True)
        self._mount()


def build(folder: Path) -> Path:
    program = folder / "cutfs"
    if not os.path.exists("/dev/fuse"):
        raise NotInjected("there is no /dev/fuse")
    for again in (True, False):
        try:
            flags = subprocess.run(
                ["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True
            ).stdout.split()
            subprocess.run(
                ["gcc", "-O2", str(SOURCE), *flags, "-o", str(program)], capture_output=True, check=True
            )
            return program
        except (OSError, subprocess.CalledProcessError) as error:
            script = Path(__file__).parents[2] / "scripts" / "install-packages"
            packages = ["gcc", "libc6-dev", "pkg-config", "libfuse3-dev", "fuse3"]
            if not again or subprocess.run([script, *packages], capture_output=True).returncode:
                raise NotInjected(f"the file system cannot be built: {error}") from None
    raise AssertionError


@asynccontextmanager
async def disk(folder: Path) -> AsyncIterator[Disk]:
    folder.mkdir(parents=True, exist_ok=True)
    made = Disk(folder / "power", build(folder))
    try:
        yield made
    finally:
        made.unmount()


class OnDisk(MariaDB):
    """Its data on the disk, its socket beside it; every write by the calls that the disk sees."""

    def __init__(self, folder: Path, data: Path) -> None:
        super().__init__(folder)
        self._data = data

    def _options(self) -> list[str]:
        kept = [word for word in super()._options() if not word.startswith("--datadir")]
        return [*kept, f"--datadir={self._data}", "--innodb-use-native-aio=0", "--innodb-flush-method=fsync"]


async def always(round: Round) -> None:
    async with _stage(round, "always") as (stage, disk):
        scene = Scene(round, stage)
        count = round.times(1, 50)
        for start in range(0, count, ACT):
            async with scene.act() as load:
                for _ in range(min(ACT, count - start)):
                    await load.until_answered(round.dice.randrange(50, 150), 90)
                    await _cut(stage, disk)
                    round.hit()


async def everysec(round: Round) -> None:
    """The control: had it lost nothing, the cuts would prove nothing."""
    async with _stage(round, "everysec") as (stage, disk):
        scene = Scene(round, stage)
        for _ in range(round.times(1, 10)):
            told: set[tuple[str, str, str]] = set()

            async def foretell(load: Load, told: set[tuple[str, str, str]] = told) -> None:
                """What was acknowledged before the cut may be gone; what is, is counted."""
                for row in await stage.rows([poll.id for poll in load.polls]):
                    told -= {(row.poll, row.voter, one.id) for one in row.past}
                for (poll, voter), ops in load.journal.ops.items():
                    for op in ops:
                        if (poll, voter, op.id) in told:
                            op.outcome = Outcome.GONE

            async with scene.act(before_check=foretell) as load:
                await load.until_answered(150, 90)
                # The workers are a little behind: SQL must not have everything.
                for worker in stage.workers:
                    worker.kill_leader()
                await load.until_answered(50, 90)
                await _cut(stage, disk, load, told)
                round.hit()
        lost = round.verdict.gone
        if not lost:
            round.verdict.wrong.append("everysec lost nothing: the cuts are none")
        epochs = await stage.sql("SELECT MIN(generation) FROM log_offsets WHERE reader = 'sql'")
        if epochs[0][0] < 2:
            round.verdict.wrong.append("no new epoch after a loss")
        round.notes.append(f"the control: {lost} acknowledged ballots were lost, as they must be")


async def embedded(round: Round) -> None:
    """SQLite and the private Redis in one folder."""
    async with disk(round.folder) as on:
        stage = Embedded(round.folder, on.folder / "data")
        try:
            await stage.healed()
            scene = Scene(round, stage)
            count = round.times(1, 20)
            for start in range(0, count, ACT):
                async with scene.act() as load:
                    for _ in range(min(ACT, count - start)):
                        await load.until_answered(round.dice.randrange(50, 150), 90)
                        stage.process.kill()
                        await asyncio.to_thread(on.cut)
                        stage.start()
                        await stage.healed()
                        round.hit()
        finally:
            stage.process.kill()


@asynccontextmanager
async def _stage(round: Round, fsync: str) -> AsyncIterator[tuple[Stage, Disk]]:
    async with disk(round.folder / fsync) as on:
        config = DURABLE | {"appendfsync": fsync}
        redis = RedisServer(on.folder / "redis", redis_binary(), config)
        database = OnDisk(round.folder / fsync / "mariadb", on.folder / "mariadb")
        database.install()
        on.settle()
        database.start()
        async with Stage(round.folder / fsync, redis=redis, database=database) as stage:
            yield stage, on


async def _cut(
    stage: Stage, disk: Disk, load: Load | None = None, told: set[tuple[str, str, str]] | None = None
) -> None:
    processes = [process.pid for process in [*stage.webs, *stage.workers] if process.exit_code is None]
    for pid in [*processes, stage.redis.process.pid, stage.database.process.pid]:
        os.kill(pid, 9)
    for process in [*stage.webs, *stage.workers]:
        process.kill_leader()
    for server in (stage.redis, stage.database):
        server.process.wait()
    await asyncio.to_thread(disk.cut)
    await asyncio.gather(up(stage.redis), up(stage.database))
    if load is not None and told is not None:
        # By now whoever was answered before the cut has read it, and nobody answers yet.
        told |= {
            (poll, voter, op.id)
            for (poll, voter), ops in load.journal.ops.items()
            for op in ops
            if op.outcome is Outcome.OK
        }
    for number in range(2):
        stage.start_web(number)
        stage.start_worker(number)
    await stage.healed()
