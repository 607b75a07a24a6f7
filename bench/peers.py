"""Servers that people would pick instead, installed once into the cache and run beside ours. ``peers/`` has their code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import machine
from bench.process import Missing, Running, cache_folder, compiled
from bench.stack import Poll, Stack

_FOLDER: Final = Path(__file__).parent / "peers"
_FLOOR: Final = Path(__file__).parent / "floors" / "floor.c"
LOG: Final = "peer:{p}:log"
INSTALL_SECONDS: Final = 300


def install() -> None:
    """Everything that peers need, once. Raises ``Missing``."""
    _node_folder("node")
    _python_program("python")


@contextmanager
def node(stack: Stack, script: str, *arguments: str) -> Iterator[tuple[Running, int]]:
    """A script of ``peers/node``, and its port."""
    folder = _node_folder("node")
    with Running(
        ["node", script, *arguments],
        core=machine.SERVER_CORE,
        log=stack.log("node"),
        cwd=folder,
        env=stack.environment(NODE_ENV="production"),
        pipes=True,
    ) as server:
        yield server, int(server.line())


@contextmanager
def worker(stack: Stack) -> Iterator[Running]:
    """The peers' log into the same SQL."""
    with Running(
        ["node", "worker.js"],
        core=machine.OTHER_CORE,
        log=stack.log("node-worker"),
        cwd=_node_folder("node"),
        env=stack.environment(NODE_ENV="production"),
    ) as process:
        yield process


@contextmanager
def python(stack: Stack, script: str) -> Iterator[tuple[Running, int]]:
    """A script of ``peers/python``, and its port."""
    program = _python_program("python")
    with Running(
        [program, str(_FOLDER / "python" / script)],
        core=machine.SERVER_CORE,
        log=stack.log("python"),
        env=stack.environment(),
        pipes=True,
    ) as server:
        yield server, int(server.line())


@contextmanager
def floor(stack: Stack, tick_ms: int = 0, payload: str = "-") -> Iterator[tuple[Running, int]]:
    """The C program that only reads and writes, and its port."""
    with Running(
        [compiled(_FLOOR), str(tick_ms), payload],
        core=machine.SERVER_CORE,
        log=stack.log("floor"),
        pipes=True,
    ) as server:
        yield server, int(server.line())


def seed(stack: Stack, polls: list[Poll]) -> None:
    """The rules of polls where the peers look for them."""
    pipe = stack.redis.pipeline(transaction=False)
    for poll in polls:
        pipe.hset(f"peer:{{p}}:poll:{poll.id}", mapping={"options": ",".join(poll.options), "closes": 0})
    pipe.execute()


def _node_folder(name: str) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("Node.js and npm are not installed (Debian, Ubuntu: apt-get install nodejs npm)")
    source, folder = _FOLDER / name, cache_folder() / name
    wanted = json.loads((source / "package.json").read_text())["dependencies"]
    folder.mkdir(exist_ok=True)
    stamp = folder / "installed"
    text = json.dumps(wanted)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy2(file, folder / file.name)
    if not stamp.exists() or stamp.read_text() != text:
        _install(
            [
                "npm",
                "install",
                "--no-save",
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            + [f"{package}@{version}" for package, version in wanted.items()],
            folder,
        )
        stamp.write_text(text)
    return folder


def _python_program(name: str) -> str:
    requirements = _FOLDER / name / "requirements.txt"
    folder = cache_folder() / name
    stamp, program = folder / "installed", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        _install([sys.executable, "-m", "venv", "--clear", str(folder)], _FOLDER)
        _install([str(program), "-m", "pip", "install", "--quiet", "-r", str(requirements)], _FOLDER)
        stamp.write_text(requirements.read_text())
    return str(program)


def _install(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Missing(f"{command[0]} could not install a peer: {(done.stderr or done.stdout)[-300:]}")
