"""What is measured: Redis, SQL, the web process and the worker, all real; polls and people by the HTTP API."""

import http.client
import itertools
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pymysql
import redis

from app.bootstrap.setting_table import SETTINGS
from bench import machine
from bench.process import Missing, Running
from tools.servers import MariaDB, free_port, redis_server
from tools.servers import Missing as NotInstalled

ROOT: Final = Path(__file__).resolve().parents[1]
READY_SECONDS: Final = 60.0
STORE_SECONDS: Final = 120.0
PARTITIONS: Final = 16
PARALLEL: Final = 8
LOGS: Final = "{p*}:log:*"

T = TypeVar("T")


@dataclass(frozen=True)
class Poll:
    id: str
    options: list[str]


@dataclass(frozen=True)
class Person:
    id: str
    token: str


class _MariaDB(MariaDB):
    """With the buffer pool and the log of its defaults, not those of tests."""

    def command(self) -> list[str]:
        return [*super().command(), "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M"]


class Api:
    """The HTTP API by keep-alive connections, one a thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._local.connection.request(method, path, json.dumps(body or {}), headers)
        answer = self._local.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)


class Stack:
    """``tree``: the checkout that is measured. ``sql``: MariaDB, or ``sqlite`` where speed of set-up matters more."""

    def __init__(self, folder: Path, *, tree: Path = ROOT, sql: str = "mariadb") -> None:
        self.folder = folder
        self.tree = tree
        self.sql = sql
        self.secret = secrets.token_urlsafe(48)
        self.redis_url = ""
        self.redis_pid = 0
        self.sql_pid: int | None = None
        self._number = itertools.count()
        self._exit = ExitStack()
        self._database_url = ""
        self._web: Running | None = None
        self._port = 0
        self._api: Api | None = None
        self._owner: str | None = None
        self._people: list[Person] = []

    def __enter__(self) -> "Stack":
        try:
            # Rewriting the append-only file forks and copies: not what is measured here.
            server = self._exit.enter_context(
                redis_server(self.folder / "redis", auto_aof_rewrite_percentage="0")
            )
            self.redis_url, self.redis_pid = server.url, server.process.pid
            if self.sql == "mariadb":
                database = _MariaDB(self.folder / "mariadb")
                database.install()
                database.start()
                self._exit.callback(database.stop)
                self._database_url, self.sql_pid = database.url, database.process.pid
            else:
                self._database_url = f"sqlite+aiosqlite:///{self.folder / 'bench.db'}"
            self.redis = redis.Redis.from_url(self.redis_url)
            self._exit.callback(self.redis.close)
            self._app("migrate").popen.wait(READY_SECONDS)
        except NotInstalled as error:
            self._exit.close()
            raise Missing(str(error)) from None
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._number)}.log"

    def environment(self, **settings: str) -> dict[str, str]:
        base = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        return base | {
            "DATABASE_URL": self._database_url,
            "REDIS_URL": self.redis_url,
            "JWT_SECRET": self.secret,
            "DATA_DIR": str(self.folder / "data"),
            "LOG_LEVEL": "warning",
            "MESSAGE_RATE": "0",
            "GUEST_RATE": "0",
            "ACCESS_TOKEN_SECONDS": "86400",
            "TICK_MS": "100",
            "KEEP_ALIVE_SECONDS": "3600",
            "DRAIN_SECONDS": "0",
            "PARTITIONS": str(PARTITIONS),
        } | settings  # fmt: skip

    def _app(self, command: str, core: int = machine.OTHER_CORE, **settings: str) -> Running:
        return Running(
            [sys.executable, "-m", "app", command],
            core=core,
            log=self.log(command),
            cwd=self.tree,
            env=self.environment(**settings),
        )

    @contextmanager
    def fresh_web(self, **settings: str) -> Iterator[tuple[Running, int]]:
        """A web process of its own, and its port."""
        port = free_port()
        with self._app("serve", machine.SERVER_CORE, PORT=str(port), **settings) as web:
            wait_ready(port, web)
            yield web, port

    @property
    def web(self) -> Running:
        """The web process that most rows share, started when it is first wanted."""
        if self._web is None:
            self._web, self._port = self._exit.enter_context(self.fresh_web())
        return self._web

    @property
    def port(self) -> int:
        """Of the shared web process."""
        _ = self.web
        return self._port

    @property
    def api(self) -> Api:
        """Of the shared web process."""
        if self._api is None:
            self._api = Api(self.port)
        return self._api

    @contextmanager
    def worker(self, core: int = machine.OTHER_CORE, **settings: str) -> Iterator[Running]:
        with self._app("worker", core, **settings) as worker:
            yield worker

    @property
    def database_url(self) -> str:
        return self._database_url

    def sql_ask(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """One statement on MariaDB by the benchmark itself."""
        parts = urlsplit(self._database_url)
        connection = pymysql.connect(
            host="127.0.0.1", port=parts.port or 3306, user="root", database="test", autocommit=True
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    def log_length(self, pattern: str = LOGS) -> int:
        """Entries of the vote log (or a peer's) that are not stored yet."""
        lengths = [self.redis.xlen(key) for key in self.redis.scan_iter(pattern, count=1000)]
        return sum(int(length) for length in lengths)

    def drained(self, pattern: str = LOGS) -> None:
        """Until the log is stored."""
        until = time.monotonic() + STORE_SECONDS
        keys = list(self.redis.scan_iter(pattern, count=1000))
        while any(self.redis.xlen(key) for key in keys):
            if time.monotonic() > until:
                raise RuntimeError(f"not stored within {STORE_SECONDS} s: {self.log_length(pattern)} entries")
            time.sleep(0.02)

    @property
    def owner(self) -> str:
        """A token of the person who owns the polls."""
        if self._owner is None:
            new = {"email": "owner@example.org", "password": secrets.token_urlsafe(12)}
            self._owner = str(self.api.call("POST", "/auth/register", new)["accessToken"])
        return self._owner

    def polls(self, count: int, **fields: Any) -> list[Poll]:
        """New polls, open to guests, with four options."""
        api, owner = self.api, self.owner

        def create(number: int) -> Poll:
            body = {
                "question": f"Question {number}?",
                "options": ["One", "Two", "Three", "Four"],
                "guests": True,
            }
            poll = api.call("POST", "/polls", body | fields, owner)["poll"]
            return Poll(poll["id"], [option["id"] for option in poll["options"]])

        return _many(create, count)

    def close(self, poll: Poll) -> None:
        self.api.call("POST", f"/polls/{poll.id}/close", token=self._owner)

    def people(self, count: int) -> list[Person]:
        """New guests."""

        api = self.api

        def arrive(_: int) -> Person:
            session = api.call("POST", "/auth/guest")
            return Person(session["user"]["id"], session["accessToken"])

        return _many(arrive, count)

    def crowd(self, count: int) -> list[Person]:
        """Guests that several rows share: who votes on polls of the row's own."""
        self._people += self.people(max(0, count - len(self._people)))
        return self._people[:count]


def wait_ready(port: int, process: Running) -> None:
    """Until ``/readyz`` answers 200."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.popen.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise RuntimeError(f"not ready: {process.tail()}")


def _many(work: Callable[[int], T], count: int) -> list[T]:
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(work, range(count)))
