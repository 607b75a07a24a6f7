"""Runs the embedded redis-server: a child process on a Unix socket that ends with this process.

Two locks ensure one server per folder. This process holds ``<folder>/lock``, and each child inherits ``<folder>/redis/lock``.
If the first is held, another Pollroom is running, and the start is refused. If only the second is held, a killed parent left an
orphan, which is stopped before a new child starts. The kernel releases a lock when its last process ends.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ....utils import logger
from .binary import ServerProcessError, check, find_binary
from .data_folder import (
    AlreadyRunning,
    holders,
    lock_folder,
    lock_within,
    make_private,
    open_log,
    socket_path,
)

__all__ = [
    "AlreadyRunning",
    "RedisServerProcess",
    "ServerProcessError",
    "bound",
    "find_binary",
    "socket_path",
]

_ANSWER_SECONDS: Final = 30.0
_LOADING_SECONDS: Final = 600.0
_STOP_SECONDS: Final = 10.0
_BACK_OFF: Final = (0.1, 5.0)
_STABLE_SECONDS: Final = 10.0

# Run between fork and redis-server. PR_SET_PDEATHSIG (1) survives the exec. A preexec_fn could deadlock on a lock held
# by another thread of the parent. Comparing the parent's PID detects a parent that died before the call.
_LAUNCH: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

log = logger.get(__name__)


class RedisServerProcess:
    """A private redis-server with its data in ``folder/redis``. Every write is on disk before its reply.

    On Linux the kernel stops the child when the *thread* that started it ends, so call ``start`` and ``supervise`` in the event
    loop of the main thread. On other systems, the next start stops an orphan.
    The child has its own session: Ctrl-C reaches only the parent, which drains first.
    """

    def __init__(self, folder: Path, *, binary: str | None = None) -> None:
        """``binary``: path of redis-server. Default: the result of ``find_binary``."""
        self._folder = folder.resolve()
        self._redis = self._folder / "redis"
        self._binary = binary
        self._lock: int | None = None
        self._identity = (0, 0)
        self._process: asyncio.subprocess.Process | None = None
        self.socket_path = socket_path(folder)

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int | None:
        """None while no child runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until its data is loaded. Raises ``AlreadyRunning`` or ``ServerProcessError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._redis.mkdir(mode=0o700, exist_ok=True)
        found = os.stat(self._redis)
        self._identity = (found.st_dev, found.st_ino)
        self._lock = await lock_folder(self._folder)
        try:
            self._binary = check(self._binary, self._redis) if self._binary else find_binary(self._redis)
            try:
                await self._spawn(self._binary)
            except ServerProcessError as error:
                # After a crash during a rewrite, the first start of Redis 7 repairs the append-only file and exits.
                log.warning("redis-server failed to start, retrying", reason=str(error))
                await self._spawn(self._binary)
        except BaseException:
            await self.stop()
            raise

    def check_folder(self) -> None:
        """Raise ``OSError`` if the data folder was deleted or replaced under the running server."""
        found = os.stat(self._redis)
        if (found.st_dev, found.st_ino) != self._identity:
            raise OSError(f"{self._redis} was replaced while the server was running")

    async def supervise(self) -> None:
        """Restart the child whenever it exits, until cancelled. Call after ``start``."""
        low, high = _BACK_OFF
        delay = low
        while self._binary is not None:
            began = time.monotonic()
            code = None if self._process is None else await self._process.wait()
            if time.monotonic() - began >= _STABLE_SECONDS:
                delay = low
            log.error("redis-server is down", code=code, restart_in=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, high)
            try:
                await self._spawn(self._binary)
            except (ServerProcessError, OSError) as error:
                log.error("redis-server did not start", reason=str(error))
            else:
                log.info("redis-server is back")

    async def stop(self) -> None:
        """Stop the child, then release the folder. Cancel ``supervise`` first."""
        try:
            await self._end_child()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _spawn(self, binary: str) -> None:
        make_private(self.socket_path.parent)
        lock = await self._lock_child()
        try:
            self.socket_path.unlink(missing_ok=True)
            with open_log(self._redis / "redis.log") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *bound([binary, *self._arguments()]),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._redis,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        finally:
            os.close(lock)
        try:
            await self._wait_until_ready(self._process)
        except ServerProcessError:
            await self._end_child()
            raise

    def _arguments(self) -> list[str]:
        settings = {
            "daemonize": "no",
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self._redis),
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    async def _lock_child(self) -> int:
        """Lock that the next child inherits. Stops orphans that still hold it."""
        path = self._redis / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if await lock_within(lock, 0):
                    return lock
                for pid in holders(path):
                    log.warning("stopping orphaned redis-server", pid=pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                if await lock_within(lock, _STOP_SECONDS):
                    return lock
            raise ServerProcessError(f"A redis-server still runs on {self._redis}: stop it first.")
        except BaseException:
            os.close(lock)
            raise

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        began = time.monotonic()
        limit = _ANSWER_SECONDS
        while True:
            answer = await _ping(self.socket_path)
            if answer.startswith(b"+PONG"):
                return
            if answer.startswith(b"-LOADING"):
                limit = _LOADING_SECONDS
            if process.returncode is not None:
                raise ServerProcessError(f"redis-server ended at its start: {self._last_words()}")
            if time.monotonic() - began > limit:
                raise ServerProcessError(
                    f"redis-server did not answer within {limit:g} s: {self._last_words()}"
                )
            await asyncio.sleep(0.02)

    def _last_words(self) -> str:
        text = (self._redis / "redis.log").read_text(errors="replace")
        return text.strip().rpartition("\n")[2] or "it said nothing"

    async def _end_child(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            self.socket_path.unlink(missing_ok=True)
            if self.socket_path.parent != self._redis:
                with contextlib.suppress(OSError):
                    self.socket_path.parent.rmdir()


def bound(command: list[str]) -> list[str]:
    """Wrap ``command``, which starts with an absolute path, so that it ends with the thread that starts it. Keeps the PID."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]


async def _ping(path: Path) -> bytes:
    """First line of the reply; empty without one."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
