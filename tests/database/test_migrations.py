"""Migrations: in order, once, by one process at a time, and never over a changed file."""

import asyncio
import shutil
from pathlib import Path

import pytest

from app.adapters.sql import query_files as sql
from app.adapters.sql.database import SqlDatabase
from app.adapters.sql.migrations import MigrationError, lock_name
from app.domain.errors import PollroomError
from app.domain.log_position import NOTHING
from app.repositories import ballots as model


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``sql/`` that the test may change."""
    copy = tmp_path / "sql"
    shutil.copytree(sql.folder(), copy)
    monkeypatch.setattr(sql, "folder", lambda: copy)
    return copy


async def test_the_first_migrate_makes_everything_and_a_second_nothing(url: str) -> None:
    async with SqlDatabase(url) as database:
        assert await database.partitions() is None
        assert await database.migrate(3) == len(sql.load_migrations("sqlite"))
        assert await database.migrate(3) == 0
        assert await database.partitions() == 3
        await database.check()
        assert await model.offsets(database, "sql") == [
            model.Offset(p, 1, NOTHING, None, None, None) for p in range(3)
        ]


async def test_another_number_of_partitions_is_refused(url: str) -> None:
    async with SqlDatabase(url) as database:
        await database.migrate(3)
        with pytest.raises(MigrationError, match="PARTITIONS is 4"):
            await database.migrate(4)
        assert await database.partitions() == 3


async def test_many_processes_may_migrate_at_once(url: str) -> None:
    databases = [SqlDatabase(url) for _ in range(4)]
    for database in databases:
        await database.open()
    try:
        applied = await asyncio.gather(*(database.migrate(2) for database in databases))
    finally:
        for database in databases:
            await database.close()
    assert sorted(applied) == [0, 0, 0, len(sql.load_migrations("sqlite"))]


async def test_a_changed_file_is_refused(url: str, files: Path) -> None:
    async with SqlDatabase(url) as database:
        await database.migrate(1)
        with next(files.glob("migrations/0001_*.sql")).open("a") as file:
            file.write("\n-- changed\n")
        with pytest.raises(MigrationError, match="has changed since"):
            await database.migrate(1)


async def test_a_missing_file_is_refused(url: str, files: Path) -> None:
    async with SqlDatabase(url) as database:
        await database.migrate(1)
        next(files.glob("migrations/0001_*.sql")).unlink()
        with pytest.raises(MigrationError, match="is missing"):
            await database.migrate(1)


async def test_an_interrupted_migration_is_finished_by_the_next(url: str, files: Path) -> None:
    later = files / "migrations" / "9999_more.sql"
    text = "CREATE TABLE IF NOT EXISTS more (id BIGINT, n BIGINT);\nCREATE INDEX more_n ON more (n);\n"
    async with SqlDatabase(url) as database:
        await database.migrate(1)
        later.write_text(text + "CREATE INDEX wrong ON nothing (n);\n")
        with pytest.raises(Exception, match="nothing"):
            await database.migrate(1)
        later.write_text(text)
        assert await database.migrate(1) == 1
        assert await database.migrate(1) == 0


async def test_a_query_that_names_a_missing_column_fails_the_check(url: str, files: Path) -> None:
    with (files / "queries" / "vote.sql").open("a") as file:
        file.write(
            "\n-- name: wrong.query\n-- Names a column that is not there.\nSELECT colour FROM polls;\n"
        )
    async with SqlDatabase(url) as database:
        await database.migrate(1)
        with pytest.raises(MigrationError, match=r"wrong\.query.*colour"):
            await database.check()


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for url in ("mysql+aiomysql://root@127.0.0.1:1/none", f"sqlite+aiosqlite:///{tmp_path}/no/folder/x.db"):
        with pytest.raises(PollroomError) as caught:
            await SqlDatabase(url).open()
        assert caught.value.code == "UNAVAILABLE"


def test_the_lock_has_the_name_that_earlier_versions_let_the_server_make() -> None:
    """``CONCAT('pollroom.', LEFT(SHA1(DATABASE()), 40))``; MySQL 9 has no ``SHA1``."""
    assert lock_name("pollroom") == "pollroom.750a59a36f491449cada48df0828ec934008b4ee"
