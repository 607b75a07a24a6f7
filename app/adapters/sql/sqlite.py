"""SQLite below ``database.py``."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiosqlite
from databases import DatabaseURL
from databases.backends.sqlite import SQLiteBackend

from ...domain.errors import unavailable
from ...ports.database import Value
from .driver import BUSY_SECONDS, Connection, Fault
from .query_files import Dialect, Query

# Steps of SQLite's virtual machine between two looks at whether anybody still waits: about a millisecond.
ASK_EVERY: Final = 100_000


class SQLite:
    """SQLite through aiosqlite's thread, one thread a connection. WAL: readers never wait for the writer."""

    dialect: Dialect = "sqlite"
    connections = 4
    begin = "BEGIN IMMEDIATE"
    one_writer = True

    def __init__(self, url: DatabaseURL) -> None:
        if url.database in ("", ":memory:"):
            raise ValueError("a database in memory keeps nothing: name a file, sqlite+aiosqlite:///path")
        self._path = url.database
        self._backend = SQLiteBackend(url, timeout=BUSY_SECONDS)
        self._ending: set[asyncio.Future[Any]] = set()
        self.identity = (0, 0)

    async def open(self) -> None:
        # aiosqlite leaves its thread behind where a file cannot be opened: find out without it.
        try:
            await asyncio.to_thread(lambda: sqlite3.connect(self._path).close())
        except sqlite3.Error as error:
            raise unavailable() from error
        await self._backend.connect()
        self.identity = self._identity()

    def _identity(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_dev, found.st_ino

    def check_file(self) -> None:
        """Raise ``OSError`` if the file was deleted or replaced: writes would go to a file that nobody can open again."""
        if self._identity() != self.identity:
            raise OSError(f"{self._path} was replaced while the server was running")

    async def check(self, connection: Connection) -> None:
        return None

    async def close(self) -> None:
        if self._ending:
            await asyncio.wait(self._ending)
        await self._backend.disconnect()

    def connection(self) -> Connection:
        return _SQLiteConnection(self._backend, self._ending, self.check_file)

    def fault(self, error: BaseException) -> Fault:
        if isinstance(error, UnicodeEncodeError | OverflowError | sqlite3.DataError):
            return Fault.DATA
        if isinstance(error, OSError):
            return Fault.PASSING
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or code is None:
            return Fault.BUG
        if code in _SQLITE_TAKEN:
            return Fault.DUPLICATE
        return _SQLITE_CODES.get(code & 0xFF, Fault.BUG)

    def no_table(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "no such table" in str(error)

    async def durability(self, connection: Connection) -> tuple[bool, str]:
        level = (await connection.fetch("PRAGMA synchronous", {}))[0]["synchronous"]
        return (
            level >= 2,
            f"SQLite synchronous={ {0: 'OFF', 1: 'NORMAL', 2: 'FULL', 3: 'EXTRA'}.get(level, level) }",
        )


_SQLITE_TAKEN: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
)
_SQLITE_CODES: Final[Mapping[int, Fault]] = {
    **dict.fromkeys((sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG), Fault.DATA),
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), Fault.PASSING),
    **dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM), Fault.PASSING),
    **dict.fromkeys(
        (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT), Fault.PASSING
    ),
    sqlite3.SQLITE_NOTADB: Fault.NOT_IN,
}


class _SQLiteConnection:
    def __init__(
        self, backend: SQLiteBackend, ending: set[asyncio.Future[Any]], check_file: Callable[[], None]
    ) -> None:
        self._check_file = check_file
        self._connection = backend.connection()
        self._raw: aiosqlite.Connection | None = None
        self._ending = ending

    @property
    def usable(self) -> bool:
        return self._raw is not None

    @property
    def _open(self) -> aiosqlite.Connection:
        assert self._raw is not None
        return self._raw

    async def open(self) -> None:
        self._check_file()
        await self._connection.acquire()
        self._raw = self._connection.raw_connection
        self._open.row_factory = sqlite3.Row
        # sqlite3_interrupt would miss a statement that waits for its thread; this asks within each.
        await self._open.set_progress_handler(lambda: int(self._raw is None), ASK_EVERY)
        await self.fetch("PRAGMA journal_mode = WAL", {})
        await self.fetch("PRAGMA synchronous = FULL", {})

    async def alive(self) -> None:
        self._check_file()

    async def fetch(self, text: str, values: Mapping[str, Value]) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._open.execute_fetchall(text, values)]

    async def run(self, text: str, values: Mapping[str, Value]) -> int:
        return (await self._open.execute(text, values)).rowcount

    async def many(self, text: str, rows: Sequence[Mapping[str, Value]]) -> None:
        await self._open.executemany(text, rows)

    async def prepare(self, query: Query) -> None:
        await self.fetch(f"EXPLAIN {query.text}", dict.fromkeys(query.parameters))

    def drop(self) -> None:
        raw, self._raw = self._raw, None
        if raw is None:
            return
        # The thread breaks its statement off, closes the connection (which rolls back) and stops.
        if (ended := raw.stop()) is not None:
            self._ending.add(ended)
            ended.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        if self._raw is not None:
            await self._connection.release()
            self._raw = None
