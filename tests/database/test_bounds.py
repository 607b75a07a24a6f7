"""A statement that nobody waits for any more ends on MariaDB and MySQL, whatever it does: else it keeps its locks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.adapters.sql.database import Session, SqlDatabase
from app.adapters.sql.mysql import MySQL
from app.adapters.sql.mysql_bounds import Place, statement_bound
from app.domain.errors import PollroomError
from tools.harness.wait import eventually

STATEMENTS = {
    "a read": "SELECT SLEEP(60)",
    "a write": "INSERT INTO settings SELECT 'a', SLEEP(60)",
    "a write of what another one holds": "UPDATE settings SET value = 'mine' WHERE name = 'held'",
    "a read of what another one holds": "SELECT value FROM settings WHERE name = 'held' FOR UPDATE",
    "a change of a table that another one uses": "ALTER TABLE settings ADD COLUMN more BIGINT",
    "a wait for a named lock": "SELECT GET_LOCK('held', 60)",
}


@pytest.fixture
async def database(mariadb_url: str) -> AsyncIterator[SqlDatabase]:
    async with SqlDatabase(mariadb_url) as database:
        await database.migrate(1)
        await database.run("setting.insert", name="held", value="theirs")
        yield database


@asynccontextmanager
async def everything_held(database: SqlDatabase) -> AsyncIterator[None]:
    async with database.transaction() as q:
        assert isinstance(q, Session)
        await q.execute("UPDATE settings SET value = 'theirs' WHERE name = 'held'")
        await q.fetch("SELECT GET_LOCK('held', 1)")
        yield


async def connection_id(session: Session) -> int:
    (row,) = await session.fetch("SELECT CONNECTION_ID() AS id")
    return int(row["id"])


async def connected(database: SqlDatabase, number: int) -> bool:
    async with database.transaction() as q:
        assert isinstance(q, Session)
        return any(row["Id"] == number for row in await q.fetch("SHOW PROCESSLIST"))


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
@pytest.mark.parametrize("gives_up", ["at its limit", "when it is cancelled"])
async def test_what_was_given_up_ends_on_the_server(
    database: SqlDatabase, statement: str, gives_up: str
) -> None:
    number = 0

    async def work(seconds: float) -> None:
        nonlocal number
        async with database._connection(writes=True) as connection:
            session = Session(database, connection, seconds)
            number = await connection_id(session)
            await session.execute(statement_bound(1))  # what the server does by itself need not take 10 s
            await session.fetch(statement)

    async with everything_held(database):
        if gives_up == "at its limit":
            with pytest.raises(PollroomError) as caught:
                await work(0.3)
            assert caught.value.code == "UNAVAILABLE"
        else:
            task = asyncio.create_task(work(60))
            async with asyncio.timeout(5):
                await eventually(lambda: asyncio.sleep(0, number), bool)
            await asyncio.sleep(0.1)  # within the statement, most likely; the outcome is the same elsewhere
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await eventually(lambda: connected(database, number), lambda found: not found, 4, "the end")
    assert await database.one("setting.find", name="held") == {"value": "theirs"}


async def test_a_transaction_that_was_given_up_leaves_nothing(database: SqlDatabase) -> None:
    async with database._connection(writes=True) as connection:
        with pytest.raises(PollroomError):
            async with database._transaction(connection, 0.3) as session:
                await session.execute(statement_bound(1))
                await session.run("setting.insert", name="a", value="lost")
                await session.fetch(STATEMENTS["a read"])
    async with asyncio.timeout(5):
        await database.run("setting.insert", name="a", value="kept")  # waits for its lock


async def test_each_server_bounds_what_it_can(database: SqlDatabase) -> None:
    async with database.transaction() as q:
        assert isinstance(q, Session)
        rows = await q.fetch("SHOW SESSION VARIABLES")
        said = {row["Variable_name"]: row["Value"] for row in rows}
    assert (said["innodb_lock_wait_timeout"], said["lock_wait_timeout"]) == ("5", "10")
    bound = said.get("max_statement_time") or said["max_execution_time"]
    assert float(bound) in (10, 10_000)


async def test_a_connection_of_another_server_behind_the_same_address_is_left_alone(
    database: SqlDatabase,
) -> None:
    driver = database._driver
    assert isinstance(driver, MySQL)
    async with database.transaction() as q:
        assert isinstance(q, Session)
        number = await connection_id(q)
        driver._abandoned.add(Place(number, "another server"))
        await driver._abandoned.close()
        assert await connection_id(q) == number
