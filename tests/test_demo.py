"""``scripts/demo``, small, without its set-up: it ends with equal counts and leaves nothing running."""

import asyncio
import re
import secrets
import subprocess
import sys
from pathlib import Path

import aiomysql
import pytest

from tests.plugin import not_tested
from tools.harness.process import MARK, ROOT, environment
from tools.servers import Missing, mariadb_binary, redis_binary, socketio_client

SECONDS = 280


@pytest.fixture(autouse=True)
def _programs() -> None:
    try:
        redis_binary(), mariadb_binary(), socketio_client()
    except Missing as error:
        not_tested(error)


def demo(module: str, *options: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Fails where a process of it is left."""
    mark = secrets.token_hex(8)
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env=environment({}) | environ | {MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    left = [found for found in Path("/proc").glob("[0-9]*") if mark.encode() in _environ(found)]
    assert not left, (left, done.stdout)
    return done


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.timeout(SECONDS + 20)
def test_the_light_one_ends_with_equal_counts() -> None:
    done = demo("scripts.demo", "--voters", "20", "--polls", "2", "--seconds", "1")
    assert done.returncode == 0, done.stdout
    assert "20 votes in SQL" in done.stdout and done.stdout.endswith("tally = acked = SQL: equal\n")


@pytest.mark.timeout(SECONDS + 20)
def test_all_of_it_ends_with_equal_counts(minio_url: str, kafka_brokers: str) -> None:
    services = {"TEST_S3_URL": minio_url, "TEST_KAFKA_BROKERS": kafka_brokers}
    done = demo("scripts.demo_all", "--voters", "30", "--seconds", "1", **services)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("tally = acked = SQL = Kafka: equal\n"), done.stdout
    assert "-- what " not in done.stdout, "a part logged something"
    assert done.stdout.count("; from MinIO WEBP 1024x683 ") == 4, done.stdout
    assert "a raw WebSocket voter on instance 1 got close code 4401\n" in done.stdout
    assert "a Socket.IO voter on instance 1 got io server disconnect\n" in done.stdout
    assert "18 sockets on both show the same final tally\n" in done.stdout, done.stdout
    assert "\na late vote of each kind: POLL_CLOSED\n" in done.stdout, done.stdout
    for kind in ("raw WebSocket", "Socket.IO", "HTTP"):
        assert f"10 voters by {kind}: 5 on instance 1, 5 on instance 2" in done.stdout, done.stdout
    given = re.search("acknowledged: (.*)", done.stdout)
    assert given is not None
    assert set(given[1].split(", ")) == {"30 votes", "6 changes", "6 retractions", "6 repetitions"}
    assert re.search(r"\nall( +24){5}\n", done.stdout), done.stdout


@pytest.mark.parametrize("options", [["--voters", "14"], ["--voters", "3001"], ["--seconds", "121"]])
def test_limits_are_refused_before_anything_is_started(options: list[str]) -> None:
    done = demo("scripts.demo_all", *options)
    assert done.returncode == 2 and f"{options[0]} must be from" in done.stdout, done.stdout


@pytest.mark.timeout(SECONDS + 20)
def test_votes_that_sql_lost_are_told(minio_url: str, kafka_brokers: str) -> None:
    """The control: rows are deleted while it runs."""
    services = {"TEST_S3_URL": minio_url, "TEST_KAFKA_BROKERS": kafka_brokers}
    command = [
        sys.executable,
        "-m",
        "scripts.demo_all",
        "--voters",
        "60",
        "--seconds",
        "4",
        "--patience",
        "1",
    ]
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment({}) | services, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = deleted = 0
        for line in process.stdout:
            said.append(line)
            if found := re.match(r"MariaDB +127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
            if not deleted and (found := re.match(r"acked .* MariaDB +(\d+) ", line)) and int(found[1]):
                deleted = asyncio.run(delete_ballots(port))
        code = process.wait(SECONDS)
    out = "".join(said)
    assert deleted and code == 1, out
    assert "1 polls compared, 1 different" in out, out
    assert out.endswith("tally = acked = SQL = Kafka: NOT EQUAL\n"), out


async def delete_ballots(port: int) -> int:
    """How many there were. The table is locked: row by row it could be a deadlock with the worker."""
    connection = await aiomysql.connect(host="127.0.0.1", port=port, user="root", db="test", autocommit=True)
    async with connection, connection.cursor() as cursor:
        await cursor.execute("LOCK TABLES ballots WRITE")
        return int(await cursor.execute("DELETE FROM ballots WHERE n = 1"))


@pytest.mark.parametrize("module", ["scripts.demo", "scripts.demo_all"])
def test_help_starts_no_server(module: str) -> None:
    done = demo(module, "--help")
    assert done.returncode == 0
    assert "--voters" in done.stdout
    assert "port" not in done.stdout.splitlines()[0]
    assert "Traceback" not in done.stdout
