"""The server under test as processes of its own: started, watched, stopped, killed."""

import contextlib
import http.client
import itertools
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from app.bootstrap.setting_table import SETTINGS
from tools.harness.shapes import Memory
from tools.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
MARK = "POLLROOM_TEST_MARK"
READY_SECONDS = 30.0
STOP_SECONDS = 20.0
LIVE: "set[Server]" = set()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any setting of the server but ``settings``."""
    base = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return base | {"HOST": "127.0.0.1", "LOG_LEVEL": "warning"} | dict(settings)


def run(
    command: Sequence[str], settings: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """``python -m app <command>`` to its end; stdout and stderr as one text in ``stdout``."""
    return subprocess.run(
        [sys.executable, "-m", "app", *command],
        cwd=ROOT,
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def _limit_files(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


class Process:
    """One ``python -m app <command>``. Its descendants are known by a mark in their environment, its session or folder."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, str], log: Path, files: int | None = None
    ) -> None:
        self.log = log
        self._mark = secrets.token_hex(8)
        self._folder = settings.get("DATA_DIR", "")
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "app", *command],
                cwd=ROOT,
                env=environment(settings) | {MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(_limit_files, files) if files else None,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    def family(self) -> dict[int, str]:
        """Living processes of it: pid -> command line."""
        self._popen.poll()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                state, session = fields[0], int(fields[3])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                marked = f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                mine = marked or session == self.pid or bool(self._folder and self._folder in command)
                if mine and state not in "ZX" and int(entry.name) != os.getpid():
                    found[int(entry.name)] = command.strip()
        return found

    def listens(self, port: int) -> bool:
        """Whether the process itself (not a child) takes connections on ``port``."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            ends = psutil.Process(self.pid).net_connections("tcp")
            return any(end.status == psutil.CONN_LISTEN and end.laddr.port == port for end in ends)
        return False

    def terminate(self, seconds: float = STOP_SECONDS, *, told: bool = False) -> int:
        """SIGTERM, unless it was ``told`` already, and a bounded wait; the exit code. A second signal would end it at once.

        Fails where it did not end or left something running.
        """
        if self.exit_code is None and not told:
            self._popen.send_signal(signal.SIGTERM)
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {seconds} s after SIGTERM\n{self.tail()}") from None
        left = self.gone(3)
        self.kill()
        assert not left, f"left running: {left}\n{self.tail()}"
        return code

    def gone(self, seconds: float) -> dict[int, str]:
        """Wait until nothing of it lives, at most ``seconds``; what still does."""
        end = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def kill(self) -> None:
        """kill -9 of everything that it is."""
        for _ in range(20):
            for pid in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self.gone(0.2):
                break
        self._popen.wait(5)

    def kill_leader(self) -> None:
        """kill -9 of the process itself, not of its children."""
        self._popen.kill()
        self._popen.wait(5)

    def tail(self, size: int = 6000) -> str:
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


class Server:
    """What clients see as one service: one instance or several, by ``url()`` in turn.

    ``settings`` go to every instance. Without ``DATABASE_URL`` among them it is the embedded default.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        instances: int = 1,
        files: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = {"MESSAGE_RATE": "0", "DRAIN_SECONDS": "1"} | dict(settings or {})
        self.size = instances
        self.files = files
        self.memory = Memory()
        self.cache: dict[str, Any] = {}
        self.processes: list[Process] = []
        self._ports = [0] * instances
        self._turn = itertools.cycle(range(instances))

    def of_instance(self, index: int) -> dict[str, str]:
        return self.settings | {
            "DATA_DIR": str(self.folder / f"data{index}"),
            "PORT": str(self._ports[index]),
        }

    def url(self, index: int | None = None) -> str:
        """Base URL of one instance, of each in turn where none is named."""
        return f"http://127.0.0.1:{self._ports[next(self._turn) if index is None else index]}"

    def start(self) -> "Server":
        LIVE.add(self)
        for index in range(self.size):
            self._start_one(index)
        return self

    def _start_one(self, index: int) -> None:
        for attempt in range(3):
            if not self._ports[index] or attempt:
                self._ports[index] = free_port()
            process = Process(
                ["serve"], self.of_instance(index), self.folder / f"serve{index}.log", self.files
            )
            if self._ready(process, index):
                self.processes.append(process)
                return
            process.kill()
            if "in use" not in process.tail():
                break
        raise AssertionError(
            f"not ready in {READY_SECONDS:.0f} s (exit {process.exit_code})\n{process.tail()}"
        )

    def _ready(self, process: Process, index: int) -> bool:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and process.exit_code is None:
            # Whoever took the port first may be a server, too.
            if self.readiness(index)[0] == 200 and process.listens(self._ports[index]):
                return True
            time.sleep(0.05)
        return False

    def readiness(self, index: int = 0) -> tuple[int, Any]:
        """Status and body of ``/readyz``; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[index], timeout=5)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def stop(self, *, told: bool = False) -> None:
        """SIGTERM to all that were not ``told`` yet; fails where one does not end well, or leaves something running."""
        LIVE.discard(self)
        processes, self.processes = self.processes, []
        failures: list[str] = []
        for process in processes:
            try:
                code = process.terminate(told=told)
                if code != 0:
                    failures.append(f"exit code {code}\n{process.tail()}")
            except AssertionError as error:
                failures.append(str(error))
        assert not failures, "\n".join(failures)

    def kill(self) -> None:
        """kill -9 of all processes of all instances."""
        LIVE.discard(self)
        processes, self.processes = self.processes, []
        for process in processes:
            process.kill()

    def log(self) -> str:
        return "\n".join(process.tail(1_000_000) for process in self.processes)


@contextlib.contextmanager
def serving(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    instances: int = 1,
    files: int | None = None,
) -> Iterator[Server]:
    """A started server, stopped at the end. A trace of an unexpected error in its log is a failure."""
    server = Server(folder, settings, instances, files)
    try:
        server.start()
        yield server
        log = server.log()
    except BaseException:
        server.kill()
        raise
    server.stop()
    assert "Traceback" not in log, log[-8000:]
