"""Fixtures of the services, for every test; loaded by ``pyproject.toml``.

The servers come from ``scripts/services``, which starts them once a run, or else are started here.
"""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import hypothesis
import pytest
import redis.asyncio

from tools.servers import (
    Missing,
    RedisServer,
    Server,
    fresh_database,
    kafka,
    mariadb,
    minio,
    redis_server,
    socketio_client,
)

# A busy machine misses every deadline. Whoever hangs is ended by the limits below.
hypothesis.settings.register_profile("pollroom", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("pollroom")

LAST_RESORT: Final = 3.0
"""Of an async test's time limit: when pytest-timeout interrupts it, with its fixtures."""


def bounded(test: Callable[..., Coroutine[Any, Any, None]], seconds: float) -> Callable[..., Any]:
    """Cancels a test after ``seconds``, and reports the line that it waited in.

    pytest-timeout interrupts by a signal. The task of the test then stays in the event loop that the later tests share, and all
    of them fail.
    """

    @functools.wraps(test)
    async def within(*args: Any, **fixtures: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **fixtures)

    return within


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or not iscoroutinefunction(item.obj):
            continue
        if hasattr(item.obj, "hypothesis"):  # many runs of the function, each with a limit of hypothesis
            continue
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker else config.getini("timeout"))
        item.obj = bounded(item.obj, seconds)
        item.add_marker(pytest.mark.timeout(seconds * LAST_RESORT), append=False)


def not_tested(reason: object) -> NoReturn:
    """Skip for want of a service; on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not tested: {reason}")
    pytest.skip(f"not tested: {reason}")


@contextmanager
def needing_services() -> Iterator[None]:
    """What is ``Missing`` within makes the test ``not_tested``."""
    try:
        yield
    except Missing as error:
        not_tested(error)


def _shared(
    variable: str, open_server: Callable[[Path], AbstractContextManager[Server]], folder: Path
) -> Iterator[str]:
    """The URL that the environment names, else of a server in ``folder``."""
    if url := os.environ.get(variable):
        yield url
        return
    with needing_services(), open_server(folder) as server:
        yield server.url


@pytest.fixture(scope="session")
def mariadb_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MariaDB (or MySQL) server; the database it names is nobody's: take ``mariadb_url``."""
    yield from _shared("TEST_DATABASE_URL", mariadb, tmp_path_factory.mktemp("mariadb"))


@pytest.fixture
async def mariadb_url(mariadb_server_url: str) -> AsyncIterator[str]:
    """An empty database of this test."""
    async with fresh_database(mariadb_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of its own for each worker of pytest. Pub/sub channels know no databases: workers share them."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    for url in _shared("TEST_REDIS_URL", redis_server, tmp_path_factory.mktemp("redis")):
        yield urlsplit(url)._replace(path=f"/{1 + int(worker) % 15}").geturl()


@pytest.fixture
async def redis_url(redis_server_url: str) -> str:
    """An empty Redis database of this test."""
    async with redis.asyncio.from_url(redis_server_url) as client:
        await client.flushdb()
    return redis_server_url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, to be stopped, emptied and damaged."""
    with needing_services(), redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def minio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server as ``http://user:secret@host:port``: take buckets of your own."""
    yield from _shared("TEST_S3_URL", minio, tmp_path_factory.mktemp("minio"))


@pytest.fixture(scope="session")
def kafka_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka as ``host:port``: take topics of your own."""
    yield from _shared("TEST_KAFKA_BROKERS", kafka, tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def library() -> str:
    """The folder of ``socket.io-client``, for node; ``ws`` comes with it."""
    with needing_services():
        return socketio_client()
