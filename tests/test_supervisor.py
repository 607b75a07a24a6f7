"""Long-lived tasks: none may end unnoticed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.utils import supervisor as module
from app.utils.supervisor import Supervisor
from tools.harness.http import Api
from tools.harness.process import ROOT, Server, environment
from tools.harness.wait import eventually
from tools.harness.websocket import Frame, Socket, socket
from tools.servers import free_port

pytestmark = pytest.mark.anyio


async def _failing(supervisor: Supervisor) -> dict[str, str]:
    return dict(supervisor.failing)


async def test_a_task_that_fails_or_returns_is_reported_and_restarted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.01)
    supervisor, runs = Supervisor(), 0
    go_on = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("the first run")
        if runs == 2:
            return
        go_on.set()
        await asyncio.Event().wait()

    async with supervisor.running("work", work):
        await eventually(lambda: _failing(supervisor), lambda found: "the first run" in found.get("work", ""))
        await eventually(lambda: _failing(supervisor), lambda found: "without an error" in str(found))
        await go_on.wait()
        await eventually(lambda: _failing(supervisor), lambda found: not found)
    assert runs == 3


async def test_a_cancellation_that_nobody_asked_for_ends_no_task() -> None:
    supervisor, again = Supervisor(), asyncio.Event()

    async def work() -> None:
        if not supervisor.failing:
            raise asyncio.CancelledError
        again.set()
        await asyncio.Event().wait()

    async with supervisor.running("work", work):
        await again.wait()


async def _works(server: Server, api: Api, ws: Socket, poll: Frame, number: int) -> None:
    """A new ballot is accepted, shown and stored, and the server is ready."""

    async def readiness() -> tuple[int, Frame]:
        return await asyncio.to_thread(server.readiness)

    async def accepted() -> str | None:
        answer = await ws.vote(poll["id"], [poll["options"][number % 2]["id"]], id=f"b{number}")
        return answer.code

    await eventually(readiness, lambda found: found[0] == 200 and found[1]["status"] == "ready", 15)
    await eventually(accepted, lambda code: code is None, 15)
    last = await api.tally(poll)
    await ws.shows(poll, 10, seq=lambda seq: seq >= last["seq"])
    await eventually(readiness, lambda found: found[1]["checks"]["worker"]["detail"].startswith("0 "), 15)


async def test_an_exception_inside_each_task_of_a_server_is_survived(tmp_path: Path) -> None:
    """Votes are taken, shown and stored after each of them, and readiness returns."""
    port = free_port()
    settings = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(port), "MESSAGE_RATE": "0"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.faults.failing_tasks", "serve"],
            cwd=ROOT,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    server = Server(tmp_path, settings)
    server._ports = [port]
    failed = []
    try:
        assert "listens" in process.stdout.readline()
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner, allowChange=True)
            async with socket(server, owner) as ws:
                await ws.join(poll)
                while True:
                    os.kill(process.pid, signal.SIGUSR1)
                    line = await asyncio.to_thread(process.stdout.readline)
                    if line == "END\n":
                        break
                    if line == "BUSY\n":
                        continue
                    failed.append(line.removeprefix("TASK ").strip())
                    await _works(server, api, ws, poll, len(failed))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert {"ballots", "pubsub", "sessions", "worker", "sweep", "eviction"} <= set(failed), failed
    assert sum(name.startswith("feeds: ") for name in failed) == 4, failed
    assert sum(name.startswith("decks: ") for name in failed) == 3, failed
