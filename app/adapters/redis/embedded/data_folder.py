"""Data folder of the embedded redis-server: its lock, socket path and log."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import IO, Final

_LOCK_SECONDS: Final = 1.0
_SOCKET_PATH_BYTES: Final = 107
_LOG_BYTES: Final = 1 << 20


class AlreadyRunning(Exception):
    """Another running process uses the folder."""


async def lock_folder(folder: Path) -> int:
    """An exclusive lock on ``folder`` until the returned descriptor is closed. Raises ``AlreadyRunning``."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if await lock_within(lock, _LOCK_SECONDS):
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock
    owner = os.pread(lock, 20, 0).decode(errors="replace")
    os.close(lock)
    raise AlreadyRunning(
        f"Pollroom runs on {folder} already (process {owner}): stop it, or set another DATA_DIR."
    )


async def lock_within(lock: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        else:
            return True


def holders(lock: Path) -> list[int]:
    """IDs of other processes in the lock's folder that have it open. Empty without ``/proc``."""
    found = []
    wanted = lock.stat()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process ended, or belongs to another user
            if int(process.name) == os.getpid() or not (process / "cwd").samefile(lock.parent):
                continue
            if any(os.path.samestat(fd.stat(), wanted) for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def socket_path(folder: Path) -> Path:
    """Path of the Unix socket of the server in ``folder``.

    A socket path has at most 107 bytes. For a longer path, the socket is in a private folder in the temporary directory, which
    is always the same for a user and ``folder``.
    """
    path = folder.resolve() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"pollroom-{os.getuid()}-{digest}" / "redis.sock"


def make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else: remove it.")
    folder.chmod(0o700)


def open_log(path: Path) -> IO[bytes]:
    """Open the log and rotate it above ``_LOG_BYTES``. One rotated file is kept."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab", buffering=0)
