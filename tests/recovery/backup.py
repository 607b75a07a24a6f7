"""A backup of the whole database, and putting it back under running processes."""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomysql

from tests.recovery.site import Site

PutBack = Callable[[], Awaitable[None]]


async def backup(site: Site) -> PutBack:
    """Taken now; call what is returned to put it back, in one transaction."""
    return await (_mariadb(site.database_url) if site.database_url else _sqlite(site))


async def _sqlite(site: Site) -> PutBack:
    copy = site.sqlite_file.with_name(f"backup-{secrets.token_hex(4)}.db")

    def copied(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target, timeout=10)) as new:
            old.backup(new)

    copied(site.sqlite_file, copy)

    async def put_back() -> None:
        copied(copy, site.sqlite_file)

    return put_back


async def _mariadb(url: str) -> PutBack:
    rows: dict[str, Any] = {}

    async def connect() -> Any:
        parts = urlsplit(url)
        return await aiomysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password or "",
            db=parts.path[1:],
        )

    connection = await connect()
    async with connection.cursor() as cursor:
        await cursor.execute("SHOW TABLES")
        for (table,) in await cursor.fetchall():
            await cursor.execute(f"SELECT * FROM `{table}`")
            rows[table] = await cursor.fetchall()
    await connection.ensure_closed()

    async def put_back() -> None:
        connection = await connect()
        async with connection.cursor() as cursor:
            await cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            await connection.begin()
            for table in rows:
                await cursor.execute(f"DELETE FROM `{table}`")
            for table, content in rows.items():
                if content:
                    marks = ", ".join(["%s"] * len(content[0]))
                    await cursor.executemany(f"INSERT INTO `{table}` VALUES ({marks})", content)
            await connection.commit()
        await connection.ensure_closed()

    return put_back
