"""The contract of ``app.ports.Database``, on each of its implementations."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysql.converters import escape_item, escape_string

from app.adapters.sql import database as adapter
from app.adapters.sql import multi_row
from app.adapters.sql.database import Session, SqlDatabase
from app.domain.errors import BadRow, DuplicateKey, PollroomError
from app.ports.database import Value
from tools.harness.wait import eventually
from tools.servers import fresh_database, mariadb


async def put(q: object, name: str, value: str | None = "1") -> int:
    assert isinstance(q, SqlDatabase | Session)
    return await q.run("setting.insert", name=name, value=value)


async def value(database: SqlDatabase, name: str) -> str | None:
    row = await database.one("setting.find", name=name)
    return None if row is None else row["value"]


async def refused(call: object, code: str = "UNAVAILABLE") -> None:
    with pytest.raises(PollroomError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code == code


async def test_what_is_written_is_read(database: SqlDatabase) -> None:
    text = "Größe 'quoted\" \\ % %s :x 🗳️ \n"
    assert await put(database, "a", text) == 1
    assert await database.all("setting.find", name="a") == [{"value": text}]
    assert await database.one("setting.find", name="b") is None


async def test_names_are_compared_byte_by_byte(database: SqlDatabase) -> None:
    await put(database, "abc")
    await put(database, "ABC")
    assert await value(database, "Abc") is None


async def test_run_counts_rows_that_match_changed_or_not(database: SqlDatabase) -> None:
    async def move(old_id: str) -> int:
        return await database.run(
            "offset.advance", reader="sql", partition=0, generation=1, old_id=old_id, last_id="0-0"
        )

    assert await move("0-0") == 1
    assert await move("1-0") == 0


async def test_a_transaction_is_whole_or_nothing(database: SqlDatabase) -> None:
    async with database.transaction() as q:
        await put(q, "kept")
        assert await q.one("setting.find", name="kept") is not None
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as q:
            await put(q, "lost")
            raise ZeroDivisionError
    assert await value(database, "kept") == "1"
    assert await value(database, "lost") is None


async def test_a_transaction_is_not_seen_before_its_commit(database: SqlDatabase) -> None:
    async with database.transaction() as q:
        await put(q, "a")
        assert await value(database, "a") is None


async def test_a_transaction_cannot_be_used_after_its_end(database: SqlDatabase) -> None:
    async with database.transaction() as q:
        pass
    with pytest.raises(RuntimeError):
        await put(q, "a")


async def test_a_taken_key_is_told_and_the_transaction_goes_on(database: SqlDatabase) -> None:
    await put(database, "a")
    with pytest.raises(DuplicateKey):
        await put(database, "a")
    async with database.transaction() as q:
        with pytest.raises(DuplicateKey):
            await put(q, "a")
        await put(q, "b")
    assert await value(database, "b") == "1"


@pytest.mark.parametrize("bad", [None, "\ud800"])
async def test_data_that_is_refused_is_a_bad_row(database: SqlDatabase, bad: str | None) -> None:
    with pytest.raises(BadRow):
        await put(database, "a", bad)
    with pytest.raises(BadRow):
        await database.bulk("setting.insert", [{"name": "a", "value": "1"}, {"name": "b", "value": bad}])
    assert await value(database, "a") is None


async def test_a_number_out_of_range_is_a_bad_row(database: SqlDatabase) -> None:
    with pytest.raises(BadRow):
        await database.run("offset.create", reader="x", partition=2**64)


async def test_a_mistake_in_a_call_is_not_hidden(database: SqlDatabase) -> None:
    with pytest.raises(KeyError):
        await database.one("setting.nothing")
    with pytest.raises(TypeError, match=r"setting\.find takes"):
        await database.one("setting.find", title="a")


async def test_a_transaction_that_lost_its_lane_cannot_end_as_if_it_had_committed(
    database: SqlDatabase,
) -> None:
    with pytest.raises(PollroomError) as caught:
        async with database.transaction() as q:
            assert isinstance(q, Session)
            await put(q, "a")
            with pytest.raises(Exception, match="colour"):
                await q.fetch("SELECT colour FROM polls")
            await refused(put(q, "a"))
    assert caught.value.code == "UNAVAILABLE"
    assert await value(database, "a") is None


async def test_bulk_stores_more_than_one_statement_may_hold(database: SqlDatabase) -> None:
    rows = [{"name": f"n{i}", "value": "x" * 200} for i in range(8000)]
    await database.bulk("setting.insert", rows)
    await database.bulk("setting.insert", [])
    assert await value(database, "n7999") == "x" * 200


HOSTILE = [
    *(
        "'",
        "''",
        '"',
        "\\",
        "\\'",
        "\\0",
        "\0",
        "\n\r\x1a\t",
        "%",
        "%s",
        "%(name)s",
        "?",
        ":name",
        "ö🗳️",
        " ",
        "",
        "'), ('x', 'y",
    ),
    *("\x1f", "'\x1f'", "\\\x1f", "','"),
]


@pytest.mark.parametrize("texts", [HOSTILE, [t for t in HOSTILE if "\x1f" not in t], HOSTILE[-1:], ["\x1f"]])
async def test_bulk_stores_any_text_as_it_is(database: SqlDatabase, texts: list[str]) -> None:
    await database.bulk("setting.insert", [{"name": f"n{i}", "value": t} for i, t in enumerate(texts)])
    assert [await value(database, f"n{i}") for i in range(len(texts))] == texts


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "a": st.text(st.characters(codec="utf-8")) | st.sampled_from(HOSTILE),
                "b": st.none() | st.integers() | st.text("x'\x1f"),
                "c": st.integers() | st.booleans(),
            }
        ),
        min_size=1,
    ),
    most=st.integers(1, 200),
    backslash=st.booleans(),
)
def test_a_statement_says_what_the_driver_would_say_of_each_value(
    rows: list[dict[str, Value]], most: int, backslash: bool
) -> None:
    def escape(item: Value) -> str:
        if isinstance(item, str):
            return f"'{escape_string(item)}'" if backslash else "'" + item.replace("'", "''") + "'"
        return str(escape_item(item))

    text = "INSERT INTO t (a, b, c) VALUES (%(a)s, %(b)s, %(c)s) ON DUPLICATE KEY UPDATE a = 'u%%'"
    head, tail = "INSERT INTO t (a, b, c) VALUES ", " ON DUPLICATE KEY UPDATE a = 'u%'"
    wanted = ["(" + ", ".join(escape(row[name]) for name in "abc") + ")" for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_row, "STATEMENT_BYTES", most)
        found = [one.decode() for one in multi_row.statements(text, rows, escape)]
    assert all(one.startswith(head) and one.endswith(tail) for one in found)
    bodies = [one.removeprefix(head).removesuffix(tail) for one in found]
    assert ",".join(bodies) == ",".join(wanted)
    assert all(len(one.encode()) <= most or body in wanted for one, body in zip(found, bodies, strict=True))


async def test_compare_and_set_has_one_winner(database: SqlDatabase) -> None:
    async def move(to: int) -> int:
        return await database.run(
            "offset.advance", reader="sql", partition=1, generation=1, old_id="0-0", last_id=f"{to}-0"
        )

    assert sum(await asyncio.gather(*(move(n) for n in range(1, 21)))) == 1


async def test_read_modify_write_under_a_lock_loses_nothing(database: SqlDatabase) -> None:
    async def step() -> None:
        async with database.transaction() as q:
            row = await q.one("offset.lock", reader="sql", partition=0)
            assert row is not None
            last = int(row["last_id"].partition("-")[0])
            moved = await q.run(
                "offset.advance",
                reader="sql",
                partition=0,
                generation=1,
                old_id=row["last_id"],
                last_id=f"{last + 1}-0",
            )
            assert moved == 1

    await asyncio.gather(*(step() for _ in range(20)))
    row = await database.one("offset.find", reader="sql", partition=0)
    assert row is not None
    assert row["last_id"] == "20-0"


SLOW = {
    "mysql": "SELECT SLEEP(1) AS s",
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT MAX(n) FROM c",
}


def slow(url: str) -> str:
    return SLOW["mysql" if url.startswith("mysql") else "sqlite"]


async def test_a_cancelled_transaction_leaves_nothing_behind(database: SqlDatabase, url: str) -> None:
    """Cancelled within a statement, which then still runs on the server."""

    async def write(name: str) -> None:
        async with database.transaction() as q:
            assert isinstance(q, Session)
            await put(q, name)
            under_way.set()
            await q.fetch(slow(url))

    for n in range(10):  # more often than there are connections
        under_way = asyncio.Event()
        task = asyncio.create_task(write(f"lost{n}"))
        started = asyncio.create_task(under_way.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), task.exception()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [await value(database, f"lost{n}") for n in range(10)] == [None] * 10
    await put(database, "kept")


async def test_a_statement_is_bounded(
    database: SqlDatabase, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database._connection(writes=False) as connection:
        await refused(database.guard(connection, connection.fetch(slow(url), {}), 0.1))
        assert not connection.usable
    await put(database, "a")


async def test_waiting_for_a_lane_is_bounded(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "ACQUIRE_SECONDS", 0.1)
    async with AsyncExitStack() as stack:
        for _ in range(database._driver.connections):
            await stack.enter_async_context(database._connection(writes=False))
        await refused(value(database, "a"))
        monkeypatch.setattr(adapter, "MAX_WAITING", 0)
        await refused(value(database, "a"))
    monkeypatch.undo()
    await put(database, "a")


async def test_many_at_once_share_the_lanes(database: SqlDatabase) -> None:
    await asyncio.gather(*(put(database, f"n{n}") for n in range(100)))
    found = await asyncio.gather(*(value(database, f"n{n}") for n in range(100)))
    assert found == ["1"] * 100
    assert len(database._idle) <= database._driver.connections


async def test_a_closed_database_is_unavailable(url: str) -> None:
    database = SqlDatabase(url)
    await refused(database.check())
    await database.open()
    await database.close()
    await database.close()
    await refused(value(database, "a"))


async def test_durability_is_read_not_assumed(database: SqlDatabase) -> None:
    durable, told = await database.durability()
    assert durable is True
    assert told in ("innodb_flush_log_at_trx_commit=1", "SQLite synchronous=FULL")
    await database.close()
    durable, told = await database.durability()
    assert durable is None
    assert told.startswith("unknown")


async def test_a_full_disk_is_unavailable_and_not_a_bad_row(tmp_path: Path) -> None:
    async with SqlDatabase(f"sqlite+aiosqlite:///{tmp_path}/test.db") as database:
        await database.migrate(1)
        with pytest.raises(PollroomError) as caught:
            async with database.transaction() as q:
                assert isinstance(q, Session)
                await q.fetch("PRAGMA max_page_count = 1")
                for n in range(1000):
                    await put(q, f"n{n}", "x" * 4000)
        assert caught.value.code == "UNAVAILABLE"
        assert await value(database, "n0") is None
        await put(database, "n0", "x" * 4000)


async def test_a_killed_connection_is_unavailable_and_replaced(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqlDatabase(mariadb_url) as database, SqlDatabase(mariadb_url) as other:
        await database.migrate(1)
        with pytest.raises(PollroomError) as caught:
            async with database.transaction() as q:
                assert isinstance(q, Session)
                await put(q, "lost")
                (row,) = await q.fetch("SELECT CONNECTION_ID() AS id")
                async with other._connection(writes=False) as connection:
                    await connection.run(f"KILL CONNECTION {int(row['id'])}", {})
                await put(q, "lost too")
        assert caught.value.code == "UNAVAILABLE"
        assert await value(database, "lost") is None


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_whose_transport_has_ended_is_unavailable_and_replaced(
    mariadb_server_url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def work() -> None:
        async with fresh_database(mariadb_server_url) as url, SqlDatabase(url) as database:
            await database.migrate(1)
            with pytest.raises(PollroomError) as caught:
                async with database.transaction() as q:
                    assert isinstance(q, Session)
                    await put(q, "lost")
                    q._connection._raw._writer.transport.abort()  # type: ignore[attr-defined]
                    await asyncio.sleep(0)
                    await put(q, "lost too")
            assert caught.value.code == "UNAVAILABLE"
            assert await value(database, "lost") is None

    run(work())


async def test_a_deadlock_is_unavailable_for_one_and_the_other_commits(mariadb_url: str) -> None:
    async with SqlDatabase(mariadb_url) as database:
        await database.migrate(2)
        both = asyncio.Barrier(2)

        async def lock(first: int, second: int) -> str:
            try:
                async with database.transaction() as q:
                    await q.one("offset.lock", reader="sql", partition=first)
                    await both.wait()
                    await q.one("offset.lock", reader="sql", partition=second)
                    await put(q, f"by{first}")
            except PollroomError as error:
                return error.code
            return "committed"

        assert sorted(await asyncio.gather(lock(0, 1), lock(1, 0))) == ["UNAVAILABLE", "committed"]
        found = [await value(database, name) for name in ("by0", "by1")]
        assert found.count("1") == 1


async def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    with mariadb(tmp_path) as server:
        async with SqlDatabase(server.url) as database:
            await database.migrate(1)
            await asyncio.gather(*(put(database, f"n{n}") for n in range(8)))
            server.kill()
            await refused(value(database, "n0"))
            await refused(put(database, "a"))
            server.start()
            assert await asyncio.gather(*(value(database, f"n{n}") for n in range(8))) == ["1"] * 8


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_closing_after_the_server_ended_idle_connections_does_not_fail(
    mariadb_server_url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def idle(database: SqlDatabase, together: asyncio.Barrier) -> int:
        async with database.transaction() as q:
            assert isinstance(q, Session)
            (row,) = await q.fetch("SELECT CONNECTION_ID() AS id")
            await q.execute("SET SESSION wait_timeout = 1")
            await together.wait()
            return int(row["id"])

    async def work() -> None:
        async with fresh_database(mariadb_server_url) as url, SqlDatabase(url) as other:
            database = SqlDatabase(url)
            await database.open()
            together = asyncio.Barrier(3)
            ids = set(await asyncio.gather(*(idle(database, together) for _ in range(3))))

            async def alive() -> set[int]:
                async with other.transaction() as q:
                    assert isinstance(q, Session)
                    return ids & {
                        row["ID"] for row in await q.fetch("SELECT ID FROM information_schema.processlist")
                    }

            await eventually(alive, lambda found: not found, 10)
            await database.close()

    run(work())


async def test_texts_survive_a_server_that_ignores_the_character_set_of_the_log_in(tmp_path: Path) -> None:
    options = ("--loose-skip-character-set-client-handshake", "--character-set-server=latin1")
    text = "Ä€🗳"
    with mariadb(tmp_path, *options) as server:
        async with SqlDatabase(server.url) as database:
            await database.migrate(1)
            await put(database, "text", text)
            assert await value(database, "text") == text
            async with database.transaction() as q:
                assert isinstance(q, Session)
                (row,) = await q.fetch("SELECT HEX(value) AS bytes FROM settings WHERE name = 'text'")
            assert bytes.fromhex(row["bytes"]).decode() == text
