"""Two web processes and two workers on a MariaDB and a Redis of their own, each to be killed, stopped and started."""

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomysql
import httpx
import redis.asyncio

from tools.faults.journal import Past, Row, Tally
from tools.faults.load import Voter
from tools.harness.process import Process, run
from tools.servers import DURABLE, MariaDB, RedisServer, Server, free_port, redis_binary, sql_server

SETTINGS = {
    "JWT_SECRET": "a-secret-of-the-faults-and-nothing-else",
    "MESSAGE_RATE": "0",
    "GUEST_RATE": "0",
    "DRAIN_SECONDS": "1",
    "ACCESS_TOKEN_SECONDS": "86400",
    "LOG_LEVEL": "warning",
}
HEAL_SECONDS = 60.0
TRUNCATED = "the truncated file is not the last file"
"""Redis 7, killed while it wrote its file anew after an end in the middle of a batch: mended, whoever starts it again."""


class Stage:
    """``web``, ``worker``: further settings of the one or the other process, taken when it is started."""

    def __init__(
        self,
        folder: Path,
        *,
        redis: RedisServer | None = None,
        database: MariaDB | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.redis = redis or RedisServer(folder / "redis", redis_binary(), DURABLE)
        self.database = database or sql_server(folder / "mariadb")
        self.ports = [free_port(), free_port()]
        self.web: list[dict[str, str]] = [{}, {}]
        self.worker: list[dict[str, str]] = [{}, {}]
        self.webs: list[Process] = []
        self.workers: list[Process] = []
        self.voters: list[Voter] = []
        self.owner = ""
        self._seen: dict[Path, int] = {}

    @property
    def settings(self) -> dict[str, str]:
        return SETTINGS | {"DATABASE_URL": self.database.url, "REDIS_URL": self.redis.url}

    @property
    def bases(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    async def __aenter__(self) -> "Stage":
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _open(self) -> None:
        # Servers end with the thread that started them: the main one.
        if self.database.port == 0:
            self.database.install()
            self.database.start()
        if self.redis.port == 0:
            self.redis.start()
        migrated = run(["migrate"], self.settings)
        assert migrated.returncode == 0, migrated.stdout
        for number in range(2):
            self.start_web(number)
            self.start_worker(number)
        await self.healed()

    async def __aexit__(self, *_: object) -> None:
        for process in [*self.webs, *self.workers]:
            if process.exit_code is None:
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
        for server in (self.redis, self.database):
            with suppress(AssertionError, ProcessLookupError):
                server.process.send_signal(signal.SIGCONT)
                server.kill()

    def start_web(self, number: int) -> Process:
        settings = self.settings | self.web[number] | {"PORT": str(self.ports[number])}
        settings["DATA_DIR"] = str(self.folder / f"data{number}")
        process = Process(["serve"], settings, self.folder / f"web{number}.log")
        self.webs[number : number + 1] = [process]
        return process

    def start_worker(self, number: int) -> Process:
        settings = self.settings | self.worker[number] | {"DATA_DIR": str(self.folder / f"worker{number}")}
        process = Process(["worker"], settings, self.folder / f"worker{number}.log")
        self.workers[number : number + 1] = [process]
        return process

    async def restart(self) -> None:
        """The app's processes anew, with the settings of now."""
        for process in [*self.webs, *self.workers]:
            process.kill_leader()
        for number in range(2):
            self.start_web(number)
            self.start_worker(number)
        await self.healed()

    async def reset(self) -> None:
        """As it was in the beginning, but for the data."""
        if any(self.web) or any(self.worker):
            self.web, self.worker = [{}, {}], [{}, {}]
            await self.restart()

    async def healed(self, seconds: float = HEAL_SECONDS) -> None:
        """Wait until both web processes say ``ready``. What ended by itself is a failure."""
        async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
            for number, base in enumerate(self.bases):
                answer: Any = None
                try:
                    async with asyncio.timeout(seconds):
                        while True:
                            with suppress(httpx.TransportError, json.JSONDecodeError):
                                answer = (await http.get(f"{base}/readyz")).json()
                                if answer["status"] == "ready":
                                    break
                            assert self.webs[number].exit_code is None, self.webs[number].tail()
                            await asyncio.sleep(0.05)
                except TimeoutError:
                    raise AssertionError(
                        f"not ready after {seconds} s: {answer}\n{self.webs[number].tail()}"
                    ) from None

    async def recount(self) -> tuple[bool, str]:
        """``python -m app recount --all``: everything is stored, and every tally is a recount."""
        done = await asyncio.to_thread(run, ["recount", "--all"], self.settings, 120)
        return done.returncode == 0, done.stdout

    async def sql(self, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        return await query(self.database.url, statement, *values)

    async def rows(self, polls: Sequence[str]) -> list[Row]:
        marks = ", ".join(["%s"] * len(polls))
        return [parse(found) for found in await self.sql(f"{COLUMNS} WHERE poll_id IN ({marks})", *polls)]

    async def tallies(self, polls: Sequence[str]) -> list[Tally]:
        """By both instances."""
        return [tally for base in self.bases for tally in await tallies(base, polls)]

    def client(self) -> "redis.asyncio.Redis":
        return redis.asyncio.from_url(self.redis.url, socket_timeout=5)

    def traces(self) -> list[str]:
        """Unexpected errors in the logs of the app's processes, since the last time."""
        found = []
        for path in sorted(self.folder.glob("w*.log")):
            with path.open("rb") as file:
                file.seek(self._seen.get(path, 0))
                text = file.read()
                self._seen[path] = file.tell()
            found += [
                f"{path.name}: {entry[:1200]} ... {entry[-1200:]}"
                for entry in text.decode(errors="replace").split("\n{")
                if "Traceback" in entry
            ]
        return found[:10]


async def up(server: Server, *, spawned: bool = False) -> None:
    """Start it, and wait until it answers while everything else goes on."""
    if not spawned:
        server.spawn()
    again = True
    async with asyncio.timeout(HEAL_SECONDS):
        while not await asyncio.to_thread(server.ready):
            if server.process.poll() is not None:
                if not again or TRUNCATED not in server.log():
                    raise RuntimeError(server.log())
                again = False
                server.spawn()
            await asyncio.sleep(0.02)


COLUMNS = "SELECT poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, earlier FROM ballots"


def parse(found: Sequence[Any]) -> Row:
    poll, voter, n, id, choices, seq, epoch, cast_at, earlier = found
    past = [Past(one[0], tuple(one[2]), one[3], one[4]) for one in json.loads(earlier)]
    past.append(Past(id, tuple(choices.split(",")) if choices else (), seq, cast_at))
    return Row(poll, voter, n, epoch, tuple(past))


def sqlite_rows(file: Path) -> list[Row]:
    with closing(sqlite3.connect(file, timeout=10)) as live, live:
        return [parse(found) for found in live.execute(COLUMNS)]


async def query(url: str, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
    parts = urlsplit(url)
    connection = await aiomysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password or "",
        db=parts.path[1:],
        autocommit=True,
        connect_timeout=5,
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(statement, values or None)
            found: Sequence[tuple[Any, ...]] = await cursor.fetchall()
            return found
    finally:
        connection.close()


async def tallies(base: str, polls: Sequence[str]) -> list[Tally]:
    found = []
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        for poll in polls:
            for _ in range(60):
                with suppress(httpx.TransportError):
                    answer = await http.get(f"{base}/polls/{poll}/results")
                    if answer.status_code == 200:
                        break
                await asyncio.sleep(0.5)
            else:
                raise AssertionError(f"{base} does not show {poll}")
            tally = answer.json()["tally"]
            counts = {option: n for option, n in tally["counts"].items() if n}
            found.append(Tally(poll, base, tally["epoch"], tally["seq"], tally["voters"], counts))
    return found
