"""What operators are told when writes fail, while the process and its connections are there."""

import re
import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiomysql
import pytest
import redis.asyncio

from tests.plugin import needing_services
from tools.faults.full_disk import fill, small_disk
from tools.harness.http import Api, ballot_answer, ok
from tools.harness.process import Server, run, serving
from tools.harness.wait import eventually
from tools.servers import RedisServer, mariadb, redis_server

pytestmark = pytest.mark.anyio

AWAY_SECONDS = 30


async def status(server: Server, check: str) -> tuple[str, str]:
    """The status of the whole, and the detail of one check that is away."""
    _, report = server.readiness()
    if report is None:
        return "no answer", ""
    found = report["checks"][check]
    return report["status"], found["detail"] if found["status"] == "away" else ""


async def away(server: Server, check: str, reason: str) -> None:
    """Wait until the check is away for this reason, which the log names once."""

    async def shown() -> tuple[str, str]:
        return await status(server, check)

    await eventually(
        shown, lambda found: found[0] == "degraded" and bool(re.search(reason, found[1])), AWAY_SECONDS
    )

    async def lines() -> list[str]:
        return [
            line for line in server.log().splitlines() if "dependency away" in line and f'"{check}"' in line
        ]

    assert len(await eventually(lines, bool, AWAY_SECONDS)) == 1


async def back(server: Server, check: str) -> None:
    async def shown() -> tuple[str, str]:
        return await status(server, check)

    await eventually(shown, lambda found: found == ("ready", ""), AWAY_SECONDS)

    async def lines() -> list[str]:
        return [
            line for line in server.log().splitlines() if "dependency back" in line and f'"{check}"' in line
        ]

    assert len(await eventually(lines, bool, AWAY_SECONDS)) == 1


@contextmanager
def on_services(folder: Path, database_url: str) -> Iterator[tuple[Server, RedisServer]]:
    with needing_services(), redis_server(folder / "redis") as store:
        settings = {"DATABASE_URL": database_url, "REDIS_URL": store.url, "JWT_SECRET": secrets.token_hex(24)}
        migrated = run(["migrate"], settings)
        assert migrated.returncode == 0, migrated.stdout
        with serving(folder, settings) as server:
            yield server, store


async def test_redis_that_became_a_read_only_replica_is_away(tmp_path: Path, mariadb_url: str) -> None:
    with on_services(tmp_path, mariadb_url) as (server, store):
        async with redis.asyncio.from_url(store.url) as client:
            await client.replicaof("127.0.0.1", "1")
            await away(server, "redis", "read only replica")
            await client.replicaof("NO", "ONE")
            await back(server, "redis")


@pytest.fixture
async def small_mariadb(tmp_path: Path) -> AsyncIterator[tuple[str, aiomysql.Connection]]:
    """A server of its own: the URL of a user without the right to ignore ``read_only``, and an administrator."""
    with needing_services(), mariadb(tmp_path / "mariadb") as server:
        parts = urlsplit(server.url)
        async with aiomysql.connect(
            host="127.0.0.1",
            port=server.port,
            user=parts.username,
            password=parts.password or "",
            autocommit=True,
        ) as admin:
            cursor = await admin.cursor()
            await cursor.execute("CREATE USER web@'%' IDENTIFIED BY 'web'")
            await cursor.execute("GRANT ALL ON test.* TO web@'%'")
            yield f"mysql+aiomysql://web:web@127.0.0.1:{server.port}/test", admin


async def test_sql_that_became_read_only_is_away(
    tmp_path: Path, small_mariadb: tuple[str, aiomysql.Connection]
) -> None:
    url, admin = small_mariadb
    cursor = await admin.cursor()
    with on_services(tmp_path, url) as (server, _):
        await cursor.execute("SET GLOBAL read_only = 1")
        await away(server, "sql", "read-only")
        await cursor.execute("SET GLOBAL read_only = 0")
        await back(server, "sql")


async def test_a_deleted_data_folder_is_away(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        shutil.rmtree(tmp_path / "data0")
        await away(server, "redis", "No such file|replaced")
        await away(server, "sql", "No such file|unable to open|replaced")
    finally:
        server.kill()


async def test_sqlite_that_another_process_locks_is_away(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner)

            async def shown() -> tuple[str, str]:
                report = ok(await api.get("/readyz"))
                return report["status"], report["checks"]["worker"]["status"]

            await eventually(shown, lambda found: found == ("ready", "ok"))
            # Others may read SQLite meanwhile, and not write.
            (file,) = (tmp_path / "data0").glob("*.db")
            lock = sqlite3.connect(file, isolation_level=None)
            try:
                lock.execute("BEGIN IMMEDIATE")
                (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
                await eventually(shown, lambda found: found == ("degraded", "away"), AWAY_SECONDS)
                text = (await api.get("/metrics")).text
                assert 'pollroom_check{check="worker"} 0.0\n' in text
                assert 'pollroom_check{check="sql"} 0.0\n' in text
            finally:
                lock.close()
            await eventually(shown, lambda found: found == ("ready", "ok"), AWAY_SECONDS)


async def test_a_full_disk_is_away_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", megabytes=32) as disk:
        with serving(disk) as server:
            async with Api(server) as api:
                owner = await api.user()
                poll = await api.poll(owner, allowChange=True)
                options = [option["id"] for option in poll["options"]]
                last = await api.vote(owner, poll["id"], options[:1])
                ballast = [fill(disk)]

                async def shown() -> str:
                    _, report = server.readiness()
                    return "no answer" if report is None else str(report["status"])

                await eventually(shown, lambda found: found == "degraded", AWAY_SECONDS)
                for number in range(60):
                    # The last page of the log has room for some ballots, and SQLite gives some back.
                    ballast.append(fill(disk, f"ballast{number}"))
                    body = {"optionIds": [options[number % 2]]}
                    answer = ballot_answer(
                        await api.post(f"/polls/{poll['id']}/votes", body, owner, allow_5xx=True)
                    )
                    if answer.code is not None:
                        break
                    last = answer
                assert answer.code == "UNAVAILABLE"
                for file in ballast:
                    file.unlink()
                await eventually(shown, lambda found: found == "ready", AWAY_SECONDS)
                kept = last.fresh()
                again = await api.vote(owner, poll["id"], kept["optionIds"], id=kept["id"])
                again.repeats(last)
                assert "Traceback" not in server.log()
