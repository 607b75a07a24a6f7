"""Bring the schema up to date from ``sql/migrations/``, one process at a time."""

import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

from ...domain.layout import LAYOUT
from ...domain.values import new_id
from ...ports.database import Queries, Value
from . import query_files as sql
from .driver import STATEMENT_SECONDS
from .mysql_bounds import statement_bound

LOCK_SECONDS: Final = 60
READER: Final = "sql"

_TABLE: Final = """CREATE TABLE IF NOT EXISTS migrations (
    name {{id}} NOT NULL PRIMARY KEY,
    checksum {{id}} NOT NULL,
    applied_at BIGINT NOT NULL
) {{table}}"""


DEFAULT_PARTITIONS = 16


class MigrationError(Exception):
    """The schema is not what the files say, or the number of partitions is another one: somebody must decide."""


class AlreadyThere(Exception):
    """DDL was done before: a migration on MySQL was interrupted between two statements."""


class Session(Queries, Protocol):
    async def execute(self, text: str, values: Mapping[str, Value] | None = None) -> int: ...

    async def fetch(self, text: str, values: Mapping[str, Value] | None = None) -> list[dict[str, Any]]: ...


def lock_name(database: str) -> str:
    """One lock per database, of at most 64 characters. Earlier versions had MySQL's SHA1(), which MySQL 9 dropped, make it."""
    return f"pollroom.{hashlib.sha1(database.encode()).hexdigest()}"  # noqa: S324 - a name, no secret


@asynccontextmanager
async def mysql_lock(session: Session) -> AsyncIterator[None]:
    """Held by the connection: a process that dies lets go of it."""
    await session.execute(statement_bound(0))
    (database,) = await session.fetch("SELECT DATABASE() AS name")
    lock = {"name": lock_name(database["name"])}
    rows = await session.fetch(f"SELECT GET_LOCK(%(name)s, {LOCK_SECONDS}) AS got", lock)
    if rows[0]["got"] != 1:
        raise MigrationError(f"another process has been migrating for {LOCK_SECONDS} s")
    try:
        yield
    finally:
        with suppress(Exception):
            await session.execute("DO RELEASE_LOCK(%(name)s)", lock)
            await session.execute(statement_bound(STATEMENT_SECONDS))


async def apply(session: Session, dialect: sql.Dialect, partitions: int | None) -> int:
    """Under the lock: the number of migrations applied."""
    files = sql.load_migrations(dialect)
    await session.execute(sql.expand(_TABLE, dialect))
    done = {
        row["name"]: row["checksum"] for row in await session.fetch("SELECT name, checksum FROM migrations")
    }
    for name, checksum in sorted(done.items()):
        file = next((file for file in files if file.name == name), None)
        if file is None:
            raise MigrationError(f"migration {name} was applied, but its file is missing")
        if file.checksum != checksum:
            raise MigrationError(f"migration {name} was applied, and its file has changed since")
    new = [file for file in files if file.name not in done]
    if done and new and new[0].name < max(done):
        raise MigrationError(f"migration {new[0].name} comes before {max(done)}, which was applied")
    record = sql.query(
        "migrations", "", "INSERT INTO migrations VALUES (:name, :checksum, :applied_at)", dialect
    )
    for file in new:
        for statement in file.statements:
            # SQLite rolls a failed migration back as a whole; there it cannot happen.
            with suppress(AlreadyThere):
                await session.execute(statement)
        now = time.time_ns() // 1_000_000
        await session.execute(record.text, {"name": file.name, "checksum": file.checksum, "applied_at": now})
    await _fix_partitions(session, partitions)
    await _fix_identity(session)
    return len(new)


async def _fix_partitions(session: Session, wanted: int | None) -> None:
    row = await session.one("setting.find", name="partitions")
    fixed = None if row is None else int(row["value"])
    partitions = wanted or fixed or DEFAULT_PARTITIONS
    if fixed is None:
        await session.run("setting.insert", name="partitions", value=str(partitions))
    elif fixed != partitions:
        raise MigrationError(
            f"PARTITIONS is {partitions}, but this database was made with {fixed}, which is for good"
        )
    known = {row["partition"] for row in await session.all("offset.all", reader=READER)}
    for partition in range(partitions):
        if partition not in known:
            await session.run("offset.create", reader=READER, partition=partition)


async def _fix_identity(session: Session) -> None:
    known = {row["name"] for row in await session.all("ledger.identity")}
    for name, value in (("ledger", new_id()), ("layout", str(LAYOUT))):
        if name not in known:
            await session.run("setting.insert", name=name, value=value)
