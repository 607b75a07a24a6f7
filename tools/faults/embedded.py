"""The default, with everything inside one process and its private Redis: killed apart and together."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from tools.faults.journal import Row, Tally
from tools.faults.load import Voter
from tools.faults.scene import Round, Scene
from tools.faults.stage import HEAL_SECONDS, SETTINGS, sqlite_rows, tallies
from tools.harness.process import Process, run
from tools.servers import free_port

ACT = 10


class Embedded:
    """``data``: its folder, in ``folder`` unless given."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self._log = folder / "serve.log"
        self._data = data or folder / "data"
        self.voters: list[Voter] = []
        self.owner = ""
        self._seen = 0
        self._settings = {**SETTINGS, "DATA_DIR": str(self._data), "PORT": str(free_port())}
        self.process = self.start()

    def start(self) -> Process:
        self.process = Process(["serve"], self._settings, self._log)
        return self.process

    @property
    def bases(self) -> list[str]:
        return [f"http://127.0.0.1:{self._settings['PORT']}"]

    async def healed(self) -> None:
        async with asyncio.timeout(HEAL_SECONDS), httpx.AsyncClient(timeout=3, trust_env=False) as http:
            while True:
                with suppress(httpx.TransportError):
                    if (await http.get(f"{self.bases[0]}/readyz")).json()["status"] == "ready":
                        return
                assert self.process.exit_code is None, self.process.tail()
                await asyncio.sleep(0.05)

    async def recount(self) -> tuple[bool, str]:
        done = await asyncio.to_thread(run, ["recount", "--all"], self._settings, 120)
        return done.returncode == 0, done.stdout

    async def rows(self, polls: Sequence[str]) -> list[Row]:
        return [row for row in sqlite_rows(self._data / "pollroom.db") if row.poll in polls]

    async def tallies(self, polls: Sequence[str]) -> list[Tally]:
        return await tallies(self.bases[0], polls)

    def traces(self) -> list[str]:
        text = self.process.log.read_text(errors="replace")
        at = text.find("Traceback", self._seen)
        self._seen = len(text)
        return [text[at : at + 3000]] if at >= 0 else []

    def child(self) -> int | None:
        found = [pid for pid, command in self.process.family().items() if "redis-server" in command]
        return found[0] if found else None

    def kill(self, *, parent: bool, child: bool) -> None:
        """At once, and the parent is started again without waiting for anything."""
        pids = [self.process.pid] if parent else []
        if child and (pid := self.child()) is not None:
            pids.append(pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if parent:
            self.process.kill_leader()
            self.start()


async def kills(round: Round) -> None:
    stage = Embedded(round.folder)
    try:
        await stage.healed()
        scene = Scene(round, stage)
        count = round.times(3, 100)
        for start in range(0, count, ACT):
            async with scene.act() as load:
                for number in range(start, min(count, start + ACT)):
                    await load.until_answered(round.dice.randrange(10, 60), 90)
                    parent, child = ((True, False), (False, True), (True, True))[number % 3]
                    stage.kill(parent=parent, child=child)
                    round.hit()
                    await stage.healed()
    finally:
        stage.process.kill()
