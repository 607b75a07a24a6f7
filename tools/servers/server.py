"""A server process of the tests, which ends with whoever started it."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.redis.embedded.server_process import bound

_READY_SECONDS = 60
_STOP_SECONDS = 20


class Server(ABC):
    """A server process with data in ``folder``. It ends with the thread that started it: use the main one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> list[str]:
        """The absolute path of the program first."""

    def environ(self) -> dict[str, str]:
        """Of the program, beside ours."""
        return {}

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Returns when it answers. Again after ``kill`` or ``stop``: on the same folder and port."""
        tries = 1 if self.port else 3  # another process may take a free port first
        for _ in range(tries):
            self.port = self.port if tries == 1 else free_port()
            self.spawn()
            end = time.monotonic() + _READY_SECONDS
            while self.process.poll() is None and time.monotonic() < end:
                if self.ready():
                    return
                time.sleep(0.01)
            self.kill()
        raise RuntimeError(f"{self.command()[0]} did not start: {self.log()}")

    def spawn(self) -> None:
        """As ``start`` on the port that it has, without waiting."""
        with (self.folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                bound(self.command()),
                env=os.environ | self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log(self) -> str:
        """The end of it."""
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait; also where it is stopped (SIGSTOP) or gone."""
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def running(server: Server) -> Iterator[None]:
    """Started, and stopped at the end."""
    server.start()
    try:
        yield
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def talk(port: int, request: bytes) -> bytes:
    """The beginning of the answer, empty where there is none within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""
