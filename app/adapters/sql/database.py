"""The database port on MySQL/MariaDB and SQLite: named queries on a few connections.

A connection belongs to one task at a time. It goes back only in a known state: after a timeout, a cancellation, a lost
connection or any error but a refusal of the data it is dropped, and the server rolls back what it was doing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, TypeVar

from databases import DatabaseURL

from ...domain.errors import BadRow, DuplicateKey, PollroomError, unavailable
from ...ports.database import Queries, Value
from . import migrations
from . import query_files as sql
from .driver import KEEPS_CONNECTION, STATEMENT_SECONDS, Connection, Denied, Driver, Fault, describe
from .mysql import MySQL
from .sqlite import SQLite

ACQUIRE_SECONDS: Final = 5.0
MIGRATION_SECONDS: Final = 3600.0
CLOSE_SECONDS: Final = 5.0
MAX_WAITING: Final = 1000
# A connection that rested longer is asked whether its server is still there.
RESTED_SECONDS: Final = 1.0

T = TypeVar("T")


class SqlDatabase:
    """``url``: ``mysql+aiomysql://user:password@host:port/name`` or ``sqlite+aiosqlite:///path``.

    Raises as ``app.ports.Queries`` says, and ``Denied``; a mistake in a query rises as the driver's own error.
    """

    def __init__(self, url: str) -> None:
        parsed = DatabaseURL(url)
        if parsed.dialect not in sql.DIALECTS:
            raise ValueError("the database URL must begin with mysql+aiomysql:// or sqlite+aiosqlite://")
        self._driver: Driver = MySQL(parsed) if parsed.dialect == "mysql" else SQLite(parsed)
        self.queries: Mapping[str, sql.Query] = sql.load_queries(self._driver.dialect)
        self._free = asyncio.Semaphore(self._driver.connections)
        self._writer = asyncio.Lock()
        self._idle: list[tuple[Connection, float]] = []
        self._waiting = 0
        self._opened = False

    @property
    def dialect(self) -> str:
        return self._driver.dialect

    async def open(self) -> None:
        """``UNAVAILABLE`` where the server does not answer."""
        await self._driver.open()
        self._opened = True
        try:
            async with self._connection(writes=False) as connection:
                await self._driver.check(connection)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Statements that still run lose their connection when they end."""
        if not self._opened:
            return
        self._opened = False
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._idle:
                    connection = self._idle.pop()[0]
                    with suppress(Exception):  # the server may have ended an idle connection
                        await connection.close()
                    connection.drop()
                await self._driver.close()

    async def __aenter__(self) -> "SqlDatabase":
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def all(self, query: str, **values: Value) -> list[dict[str, Any]]:
        async with self._connection(writes=False) as connection:
            return await Session(self, connection).all(query, **values)

    async def one(self, query: str, **values: Value) -> dict[str, Any] | None:
        async with self._connection(writes=False) as connection:
            return await Session(self, connection).one(query, **values)

    async def run(self, query: str, **values: Value) -> int:
        async with self._connection(writes=True) as connection:
            return await Session(self, connection).run(query, **values)

    async def bulk(self, query: str, rows: Sequence[Mapping[str, Value]]) -> None:
        async with self.transaction() as q:
            await q.bulk(query, rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Queries]:
        async with self._connection(writes=True) as connection, self._transaction(connection) as session:
            yield session

    async def migrate(self, partitions: int | None) -> int:
        """Bring the schema up to date; the number of migrations applied. Safe to call from several processes at once.

        ``migrations.MigrationError`` where an applied file changed or is missing, or ``partitions`` is not the value of
        the first time.
        """
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._connection(writes=True))
            session = Session(self, connection, MIGRATION_SECONDS)
            if self._driver.dialect == "sqlite":
                session = await stack.enter_async_context(self._transaction(connection, MIGRATION_SECONDS))
            else:
                await stack.enter_async_context(migrations.mysql_lock(session))
            return await migrations.apply(session, self._driver.dialect, partitions)

    async def check(self) -> None:
        """Have the server prepare every named query, so that a wrong one fails the start and not a request.

        ``migrations.MigrationError`` for the first that is wrong.
        """
        async with self._connection(writes=False) as connection:
            for query in self.queries.values():
                try:
                    await self.guard(connection, connection.prepare(query))
                except (PollroomError, Denied):
                    raise
                except Exception as error:
                    raise migrations.MigrationError(
                        f"query {query.name} does not fit the schema ({describe(error)}): run this version's `migrate`"
                    ) from error

    async def probe(self) -> None:
        """Write a row. Raises ``UNAVAILABLE`` with the server's error as its cause."""
        await self.run("setting.probe", value=str(time.time_ns()))

    async def durability(self) -> tuple[bool | None, str]:
        """Whether a commit is on disk, and the setting that says so; none where it could not be read."""
        try:
            async with self._connection(writes=False) as connection:
                return await self.guard(connection, self._driver.durability(connection))
        except Exception as error:
            return None, f"unknown ({error})"

    async def partitions(self) -> int | None:
        """The number of partitions that the first ``migrate`` fixed; none before it."""
        try:
            row = await self.one("setting.find", name="partitions")
        except Exception as error:
            if self._driver.no_table(error):
                return None
            raise
        return None if row is None else int(row["value"])

    async def guard(
        self, connection: Connection, work: Coroutine[Any, Any, T], seconds: float = STATEMENT_SECONDS
    ) -> T:
        """Run one statement, bounded; drop the connection unless it is in a known state afterwards."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except BaseException as error:
            fault = self._driver.fault(error)
            if fault not in KEEPS_CONNECTION:
                connection.drop()
            if fault is Fault.LOST:
                while self._idle:
                    self._idle.pop()[0].drop()
            if fault is Fault.DUPLICATE:
                raise DuplicateKey(str(error)) from error
            if fault is Fault.DATA:
                raise BadRow(str(error)) from error
            if fault is Fault.EXISTS:
                raise migrations.AlreadyThere(str(error)) from error
            if fault is Fault.NOT_IN:
                raise Denied(describe(error)) from error
            if fault is Fault.NO_RIGHT:
                raise Denied(f"{describe(error)}; README.md lists the rights that its user needs") from error
            if fault is not Fault.BUG:
                raise unavailable() from error
            raise

    @asynccontextmanager
    async def _transaction(
        self, connection: Connection, seconds: float = STATEMENT_SECONDS
    ) -> AsyncIterator["Session"]:
        session = Session(self, connection, seconds)
        await session.execute(self._driver.begin)
        try:
            yield session
            # Raises where a statement of the body lost the connection, even if the body went on.
            await session.execute("COMMIT")
        except BaseException:
            if connection.usable:
                with suppress(Exception):
                    await session.execute("ROLLBACK")
            raise
        finally:
            session.end()

    @asynccontextmanager
    async def _connection(self, *, writes: bool) -> AsyncIterator[Connection]:
        if not self._opened or self._waiting >= MAX_WAITING:
            raise unavailable()
        async with AsyncExitStack() as turn:
            self._waiting += 1
            try:
                async with asyncio.timeout(ACQUIRE_SECONDS):
                    # Before the connection: writers that wait must leave connections to readers.
                    if writes and self._driver.one_writer:
                        await turn.enter_async_context(self._writer)
                    await turn.enter_async_context(self._free)
            except TimeoutError as error:
                raise unavailable() from error
            finally:
                self._waiting -= 1
            connection = await self._ready()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        if not self._opened:
            connection.drop()
        elif connection.usable:
            self._idle.append((connection, time.monotonic()))

    async def _ready(self) -> Connection:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < RESTED_SECONDS:
                return connection
            with suppress(PollroomError):
                await self.guard(connection, connection.alive(), ACQUIRE_SECONDS)
                return connection
        connection = self._driver.connection()
        await self.guard(connection, connection.open(), ACQUIRE_SECONDS)
        return connection


class Session:
    """Queries on one connection."""

    def __init__(
        self, database: SqlDatabase, connection: Connection, seconds: float = STATEMENT_SECONDS
    ) -> None:
        self._database = database
        self._connection = connection
        self._seconds = seconds
        self._ended = False

    async def all(self, query: str, **values: Value) -> list[dict[str, Any]]:
        return await self._do(self._connection.fetch(self._text(query, values), values))

    async def one(self, query: str, **values: Value) -> dict[str, Any] | None:
        rows = await self.all(query, **values)
        return rows[0] if rows else None

    async def run(self, query: str, **values: Value) -> int:
        return await self._do(self._connection.run(self._text(query, values), values))

    async def bulk(self, query: str, rows: Sequence[Mapping[str, Value]]) -> None:
        if rows:
            await self._do(self._connection.many(self._text(query, rows[0]), rows))

    async def execute(self, text: str, values: Mapping[str, Value] | None = None) -> int:
        """A statement of the adapter itself, in the driver's own parameter style."""
        return await self._do(self._connection.run(text, values or {}))

    async def fetch(self, text: str, values: Mapping[str, Value] | None = None) -> list[dict[str, Any]]:
        return await self._do(self._connection.fetch(text, values or {}))

    def end(self) -> None:
        self._ended = True

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if self._ended or not self._connection.usable:
            work.close()
            if self._ended:
                raise RuntimeError("the transaction is over")
            raise unavailable()
        return await self._database.guard(self._connection, work, self._seconds)

    def _text(self, name: str, values: Mapping[str, Value]) -> str:
        query = self._database.queries[name]
        if query.parameters != values.keys():
            raise TypeError(f"{name} takes {sorted(query.parameters)}, not {sorted(values)}")
        return query.text
