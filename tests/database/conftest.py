"""The database port, empty and migrated, on SQLite and on MariaDB."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.adapters.sql.database import SqlDatabase
from tools.servers import fresh_database

PARTITIONS = 4


@asynccontextmanager
async def empty(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[str]:
    """The URL of a database without tables."""
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{folder}/test.db"
        return
    async with fresh_database(request.getfixturevalue("mariadb_server_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "mariadb"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with empty(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[SqlDatabase]:
    async with SqlDatabase(url) as database:
        await database.migrate(PARTITIONS)
        yield database
