"""A wrong setting ends the real command with one line that names it, without a trace and without what is secret."""

import re
import secrets
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiomysql
import pytest
import redis

from app.bootstrap import startup as starting
from app.bootstrap.resources import migrate, open_resources
from app.bootstrap.settings import Settings
from app.bootstrap.startup import StartError
from tests.plugin import needing_services
from tools.harness.process import Process, run
from tools.servers import RedisServer, free_port, redis_server

pytestmark = pytest.mark.anyio

SECRET = secrets.token_hex(24)
PASSWORD = f"pass-{secrets.token_hex(8)}"
SECONDS = 27.0
"""Well below the time for which a Redis that does not answer is waited for."""


@dataclass
class MariaDBUser:
    """A user of its own on the shared server, without any right yet."""

    admin: str
    name: str
    grant: Callable[[str], Awaitable[None]]

    def url(self, *, password: str = PASSWORD, database: str | None = None) -> str:
        parts = urlsplit(self.admin)
        host = f"{self.name}:{password}@{parts.hostname}:{parts.port or 3306}"
        return parts._replace(netloc=host, path=database or parts.path).geturl()


@pytest.fixture
async def user(mariadb_url: str) -> AsyncIterator[MariaDBUser]:
    parts, name = urlsplit(mariadb_url), f"user_{secrets.token_hex(6)}"
    async with aiomysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        autocommit=True,
    ) as connection:

        async def execute(statement: str) -> None:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)

        async def grant(rights: str) -> None:
            await execute(f"GRANT {rights} ON {parts.path[1:]}.* TO {name}@'%'")

        await execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")
        try:
            yield MariaDBUser(mariadb_url, name, grant)
        finally:
            await execute(f"DROP USER {name}@'%'")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {"DATA_DIR": str(tmp_path / "data"), "JWT_SECRET": SECRET, "PORT": "0"}


def refused(command: str, settings: Mapping[str, str], line: str, seconds: float = SECONDS) -> None:
    """``line``: a pattern of all that it says."""
    began = time.monotonic()
    ended = run(command.split(), settings, timeout=60)
    took = time.monotonic() - began
    said = ended.stdout
    assert re.fullmatch(f"Error: {line}\n", said), said
    assert ended.returncode == 1
    for hidden in (PASSWORD, SECRET, settings.get("DATABASE_URL"), settings.get("REDIS_URL")):
        assert not hidden or hidden not in said
    assert took < seconds


COMMANDS = pytest.mark.parametrize("command", ["migrate", "serve", "worker", "relay --remove"])


@COMMANDS
@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("password", r"DATABASE_URL: Access denied for user 'user_.*"),
        ("database", r"DATABASE_URL: Unknown database 'nobodys'"),
        ("rights", r"DATABASE_URL: Access denied for user 'user_.* to database '.*'; .* rights .*"),
    ],
)
async def test_a_server_that_lets_nobody_in(
    user: MariaDBUser, settings: dict[str, str], redis_url: str, command: str, mistake: str, line: str
) -> None:
    url = user.url()
    if mistake == "password":
        await user.grant("ALL")
        url = user.url(password=f"{PASSWORD}x")
    elif mistake == "database":
        url = user.admin.rpartition("/")[0] + "/nobodys"
    refused(command, settings | {"DATABASE_URL": url, "REDIS_URL": redis_url}, line)


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_user_that_may_only_read(
    user: MariaDBUser, settings: dict[str, str], redis_url: str, command: str
) -> None:
    await user.grant("SELECT")
    settings |= {"DATABASE_URL": user.url(), "REDIS_URL": redis_url}
    refused("migrate", settings, r"DATABASE_URL: CREATE command denied to user .*; .* rights .*")
    assert run(["migrate"], settings | {"DATABASE_URL": user.admin}).returncode == 0
    line = r"DATABASE_URL: (INSERT|UPDATE|DELETE|SELECT).* command denied to user .*; .* rights .*"
    refused(command, settings, line)


@COMMANDS
@pytest.mark.parametrize("kind", ["mysql", "sqlite"])
async def test_a_database_that_is_not_there(
    tmp_path: Path, settings: dict[str, str], redis_url: str, command: str, kind: str
) -> None:
    url, cause = (
        f"mysql://root:{PASSWORD}@127.0.0.1:{free_port()}/pollroom",
        "Can't connect to MySQL.*refused.*",
    )
    if kind == "sqlite":
        url, cause = f"sqlite+aiosqlite:///{tmp_path}/no/folder/x.db", "unable to open database file"
    settings |= {"DATABASE_URL": url, "REDIS_URL": redis_url}
    refused(command, settings, rf"DATABASE_URL: the database does not answer \({cause}\)")


@COMMANDS
async def test_an_option_ends_the_command_with_what_is_allowed(
    settings: dict[str, str], redis_url: str, command: str
) -> None:
    url = "mysql://db/polls?ssl=yes"
    refused(
        command,
        settings | {"DATABASE_URL": url, "REDIS_URL": redis_url},
        r"DATABASE_URL must be .*ssl=true.*",
    )
    refused(command, settings | {"REDIS_URL": f"{redis_url}?foo=1"}, r"REDIS_URL must be .*ssl_ca_certs.*")


async def test_a_server_that_is_no_mysql(settings: dict[str, str], redis_url: str) -> None:
    url = urlsplit(redis_url)._replace(scheme="mysql", path="/pollroom").geturl()
    settings |= {"DATABASE_URL": url, "REDIS_URL": redis_url}
    refused("migrate", settings, r"DATABASE_URL: the database does not answer \(TimeoutError\)")


@COMMANDS
async def test_a_file_that_is_no_database(
    tmp_path: Path, settings: dict[str, str], redis_url: str, command: str
) -> None:
    (tmp_path / "notes.txt").write_text("What to buy.\n" * 100)
    settings |= {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/notes.txt", "REDIS_URL": redis_url}
    refused(command, settings, "DATABASE_URL: file is not a database")


async def test_a_schema_that_is_not_of_this_version(
    tmp_path: Path, settings: dict[str, str], redis_url: str
) -> None:
    settings |= {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db", "REDIS_URL": redis_url}
    assert run(["migrate"], settings).returncode == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("DROP TABLE dead_letters")
    database.close()
    refused("serve", settings, r".* does not fit the schema \(no such table: .*\): .*`migrate`.*")


@pytest.fixture(scope="module")
def locked_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that wants a password."""
    with needing_services(), redis_server(tmp_path_factory.mktemp("redis")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "another")
        yield server


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("mistake", ["password", "no password", "cluster", "number", "server"])
async def test_a_redis_that_will_never_do(
    tmp_path: Path,
    settings: dict[str, str],
    redis_server_url: str,
    mariadb_server_url: str,
    locked_redis: RedisServer,
    command: str,
    mistake: str,
) -> None:
    mysql = urlsplit(mariadb_server_url)
    url, cause = {
        "password": (
            f"redis://:{PASSWORD}@127.0.0.1:{locked_redis.port}/0",
            "invalid username-password pair.*",
        ),
        "no password": (f"redis://127.0.0.1:{locked_redis.port}/0", "Authentication required.*"),
        "cluster": (
            f"redis+cluster://:{PASSWORD}@127.0.0.1:{locked_redis.port}",
            "no node of the cluster answers: invalid username-password pair.*",
        ),
        "number": (urlsplit(redis_server_url)._replace(path="/77").geturl(), "DB index is out of range"),
        "server": (f"redis://:{PASSWORD}@{mysql.hostname}:{mysql.port or 3306}/0", "Protocol.*"),
    }[mistake]
    settings |= {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db", "REDIS_URL": url}
    assert run(["migrate"], settings).returncode == 0
    refused(command, settings, rf"REDIS_URL: Redis cannot be used \({cause}\)")


async def test_who_waits_for_redis_says_so_once_and_goes_on(tmp_path: Path, settings: dict[str, str]) -> None:
    with needing_services(), redis_server(tmp_path / "redis") as server:
        server.stop()
        settings |= {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db", "REDIS_URL": server.url}
        assert run(["migrate"], settings).returncode == 0
        process = Process(["worker"], settings, tmp_path / "worker.log")
        try:
            until(lambda: "waiting for Redis" in process.tail())
            assert f"127.0.0.1:{server.port}" in process.tail()
            server.start()
            until(lambda: "The vote worker runs." in process.tail())
            assert process.tail().count("waiting for Redis") == 1
            assert process.terminate() == 0
        finally:
            process.kill()


async def test_a_redis_that_does_not_come_up(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "START_SECONDS", 0.5)
    environ = {
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db",
        "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
    }
    found = Settings.from_env(settings | environ)
    await migrate(found)
    with pytest.raises(StartError) as caught:
        async with open_resources(found):
            pass
    assert re.fullmatch(r"REDIS_URL: Redis does not answer \(Error \d+ connecting to .*\)", str(caught.value))
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("command", ["serve", "worker", "relay", "recount --all", "dead-letters"])
@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
async def test_a_database_without_its_redis_or_the_reverse_is_refused(
    tmp_path: Path, settings: dict[str, str], redis_url: str, command: str, missing: str
) -> None:
    """A stray process on an empty Redis of its own kept the votes of a running deployment out of SQL."""
    settings |= {
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db",
        "REDIS_URL": redis_url,
        "KAFKA_BROKERS": "127.0.0.1:1",
    }
    assert run(["migrate"], settings).returncode == 0
    del settings[missing]
    refused(command, settings, rf"{missing} must be set where (DATABASE|REDIS)_URL is: .*")


async def test_an_address_that_cannot_be_bound(
    tmp_path: Path, settings: dict[str, str], redis_url: str
) -> None:
    settings |= {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db", "REDIS_URL": redis_url}
    assert run(["migrate"], settings).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings | {"PORT": str(other.getsockname()[1])}
        refused("serve", taken, r"HOST, PORT: .*127\.0\.0\.1.*already in use")
    # 192.0.2.0/24 is for documentation: no machine has an address of it.
    refused("serve", settings | {"HOST": "192.0.2.1"}, r"HOST, PORT: .*192\.0\.2\.1.*")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 25
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
