"""Processes that the benchmark starts: pinned, measured, and ended with it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from app.adapters.redis.embedded.server_process import bound
from bench import machine

STOP_SECONDS = 20.0


class Missing(Exception):
    """Something that cannot be had here. ``str()`` says what."""


class Running:
    """A child process on one core. Its log is ``log``; its first line of output is in ``first_line`` where asked for."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pipes: bool = False,
    ) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise Missing(f"{command[0]} is not installed")
        self.log = log
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                bound([str(Path(program).absolute()), *command[1:]]),
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else errors,
                stderr=errors,
                cwd=cwd,
                env=None if env is None else dict(env),
                start_new_session=True,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        self._used = 0.0

    @property
    def pid(self) -> int:
        return self.popen.pid

    def line(self) -> str:
        """The next line of its output. Fails where it ended."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with {self.popen.wait(STOP_SECONDS)}: {self.tail()}")
        return line

    def say(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def tail(self, size: int = 2000) -> str:
        return self.log.read_text(errors="replace")[-size:]

    def cpu(self) -> float:
        return machine.cpu_seconds(self.pid)

    def settle(self) -> None:
        """Until it has started: no more than 5 ms of CPU in 200 ms; 10 s at most."""
        for _ in range(50):
            before = self.cpu()
            time.sleep(0.2)
            if self.cpu() - before < 0.005:
                return

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cache_folder() -> Path:
    """For what is built or installed once."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "pollroom-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiled(source: Path) -> str:
    """The program of one C file, built where it is older than its source. Raises ``Missing``."""
    target = cache_folder() / source.stem
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("gcc") is None:
            raise Missing("gcc is not installed (Debian, Ubuntu: apt-get install gcc libc6-dev)")
        draft = target.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", draft, source], check=True, stdout=sys.stderr)
        draft.replace(target)
    return str(target)
