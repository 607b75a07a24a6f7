"""A command that was started with the wrong Redis leaves a running deployment alone."""

import re
import secrets
from pathlib import Path

import aiomysql
import pytest
import redis.asyncio

from tests.harness.targets import worked_on
from tests.plugin import needing_services
from tools.harness.http import Api
from tools.harness.process import Server, run, serving
from tools.harness.wait import eventually
from tools.servers import redis_server

pytestmark = pytest.mark.anyio

COMMANDS = ["recount --all", "dead-letters", "relay", "serve", "worker"]
PARTITIONS = 16


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    found = re.fullmatch(r"mysql\+aiomysql://(\w*)(?::(\w*))?@([\d.]+):(\d+)/(\w+)", url)
    assert found
    user, password, host, port, name = found.groups()
    async with aiomysql.connect(
        host=host, port=int(port), user=user, password=password or "", db=name
    ) as connection:
        cursor = await connection.cursor()
        await cursor.execute(query)
        return list(await cursor.fetchall())


async def cast(api: Api, server: Server, count: int) -> str:
    """A poll with so many acknowledged votes of guests."""
    owner = await api.user()
    poll = await api.poll(owner, guests=True)
    for guest in await api.guests(count):
        (await api.vote(guest, poll["id"], [poll["options"][0]["id"]])).fresh()
    return str(poll["id"])


@pytest.mark.parametrize("kind", ["empty", "foreign"])
async def test_a_command_with_the_wrong_redis_is_refused_and_changes_nothing(
    tmp_path: Path, mariadb_url: str, kind: str
) -> None:
    with (
        needing_services(),
        redis_server(tmp_path / "redis") as store,
        redis_server(tmp_path / "wrong") as wrong,
    ):
        if kind == "foreign":
            async with redis.asyncio.from_url(wrong.url) as client:
                for partition in range(PARTITIONS):
                    fence = {"run": "1", "generation": "1", "ledger": "another", "layout": "1"}
                    await client.hset(f"{{p{partition:02d}}}:fence", mapping=fence)
        settings = {"DATABASE_URL": mariadb_url, "REDIS_URL": store.url, "JWT_SECRET": secrets.token_hex(24)}
        assert run(["migrate"], settings).returncode == 0
        with worked_on(settings, tmp_path / "worker.log"), serving(tmp_path / "server", settings) as server:
            async with Api(server) as api:
                before = await cast(api, server, 3)
                generations = "SELECT `partition`, generation FROM log_offsets ORDER BY 1"

                async def stored(poll_id: str) -> int:
                    query = f"SELECT COUNT(*) FROM ballots WHERE poll_id = '{poll_id}'"
                    (row,) = await rows(mariadb_url, query)
                    return int(str(row[0]))

                await eventually(lambda: stored(before), lambda n: n == 3, 20)
                known = await rows(mariadb_url, generations)
                for command in COMMANDS:
                    stray = settings | {"REDIS_URL": wrong.url, "KAFKA_BROKERS": "127.0.0.1:1"}
                    ended = run(command.split(), stray)
                    assert ended.returncode == 1, ended.stdout
                    assert "this Redis does not hold what this database expects" in ended.stdout
                    assert "Traceback" not in ended.stdout
                assert await rows(mariadb_url, generations) == known
                after = await cast(api, server, 3)
                await eventually(lambda: stored(after), lambda n: n == 3, 20)
        recounted = run(["recount", "--all"], settings)
        assert recounted.returncode == 0, recounted.stdout


async def test_an_emptied_redis_recovers_in_partitions_that_nobody_votes_in(
    tmp_path: Path, mariadb_url: str
) -> None:
    with needing_services(), redis_server(tmp_path / "redis") as store:
        settings = {"DATABASE_URL": mariadb_url, "REDIS_URL": store.url, "JWT_SECRET": secrets.token_hex(24)}
        assert run(["migrate"], settings).returncode == 0
        with worked_on(settings, tmp_path / "worker.log"), serving(tmp_path / "server", settings):
            async with redis.asyncio.from_url(store.url) as client:
                await client.flushall()

                async def fences() -> int:
                    return len(await client.keys("*:fence"))

                await eventually(fences, lambda n: n == PARTITIONS, 20)
            recounted = run(["recount", "--all"], settings)
            assert recounted.returncode == 0, recounted.stdout
