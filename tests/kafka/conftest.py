"""Sites whose ballots are relayed: a Redis, a database and a topic of each test's own."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.kafka.relayed import Relayed
from tests.plugin import needing_services
from tools.servers import Kafka, RedisServer, fresh_database, kafka


@pytest.fixture
def topic() -> str:
    return f"votes-{secrets.token_hex(6)}"


@pytest.fixture(params=["sqlite", "mariadb"])
async def site(
    request: pytest.FixtureRequest, tmp_path: Path, own_redis: RedisServer, kafka_brokers: str, topic: str
) -> AsyncIterator[Relayed]:
    if request.param == "sqlite":
        yield Relayed(tmp_path, own_redis, None, brokers=kafka_brokers, topic=topic)
        return
    async with fresh_database(request.getfixturevalue("mariadb_server_url")) as url:
        yield Relayed(tmp_path, own_redis, url, brokers=kafka_brokers, topic=topic)


@pytest.fixture
async def on_mariadb(
    tmp_path: Path, own_redis: RedisServer, mariadb_url: str, kafka_brokers: str, topic: str
) -> Relayed:
    return Relayed(tmp_path, own_redis, mariadb_url, brokers=kafka_brokers, topic=topic)


@pytest.fixture
def small(tmp_path: Path, own_redis: RedisServer, kafka_brokers: str, topic: str) -> Relayed:
    """SQLite."""
    return Relayed(tmp_path, own_redis, None, brokers=kafka_brokers, topic=topic)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    """A Kafka of the test's own, to be killed."""
    with needing_services(), kafka(tmp_path / "kafka") as server:
        yield server
