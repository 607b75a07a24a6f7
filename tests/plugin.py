"""Fixtures of the services, for every test; loaded by ``pyproject.toml``.

The servers come from ``scripts/services``, which starts them once a run, or else are started here.
"""

import os
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from tests.services import Missing, fresh_database, kafka, mariadb, minio, redis_server


def not_tested(reason: object) -> NoReturn:
    """Skip for want of a service; on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not tested: {reason}")
    pytest.skip(f"not tested: {reason}")


@pytest.fixture(scope="session")
def mariadb_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MariaDB (or MySQL) server; the database it names is nobody's: take ``mariadb_url``."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    try:
        with mariadb(tmp_path_factory.mktemp("mariadb")) as server:
            yield server.url
    except Missing as error:
        not_tested(error)


@pytest.fixture
async def mariadb_url(mariadb_server_url: str) -> AsyncIterator[str]:
    """An empty database of this test."""
    async with fresh_database(mariadb_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of its own for each worker of pytest. Pub/sub channels know no databases: workers share them."""
    if url := os.environ.get("TEST_REDIS_URL"):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        yield urlsplit(url)._replace(path=f"/{1 + int(worker) % 15}").geturl()
        return
    try:
        with redis_server(tmp_path_factory.mktemp("redis")) as server:
            yield server.url
    except Missing as error:
        not_tested(error)


@pytest.fixture
async def redis_url(redis_server_url: str) -> str:
    """An empty Redis database of this test."""
    async with redis.asyncio.from_url(redis_server_url) as client:
        await client.flushdb()
    return redis_server_url


@pytest.fixture(scope="session")
def minio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server as ``http://user:secret@host:port``: take buckets of your own."""
    if url := os.environ.get("TEST_S3_URL"):
        yield url
        return
    try:
        with minio(tmp_path_factory.mktemp("minio")) as server:
            yield server.url
    except Missing as error:
        not_tested(error)


@pytest.fixture(scope="session")
def kafka_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka as ``host:port``: take topics of your own."""
    if brokers := os.environ.get("TEST_KAFKA_BROKERS"):
        yield brokers
        return
    try:
        with kafka(tmp_path_factory.mktemp("kafka")) as server:
            yield server.url
    except Missing as error:
        not_tested(error)
