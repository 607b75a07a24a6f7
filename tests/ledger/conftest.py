"""A private Redis for each test: they stop, fill, cut and empty it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ledger.proxy import Proxy, proxy
from tests.ledger.world import World, world
from tests.plugin import not_tested
from tests.services import Missing, RedisServer, redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    try:
        with redis_server(tmp_path / "redis") as running:
            yield running
    except Missing as error:
        not_tested(error)


@pytest.fixture
async def here(server: RedisServer) -> AsyncIterator[World]:
    """The ledger with one partition on ``server``."""
    async with world(server.url) as made:
        yield made


@pytest.fixture
async def between(server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy in front of ``server``."""
    async with proxy(server.url) as made:
        yield made


@pytest.fixture
async def beyond(server: RedisServer, between: Proxy) -> AsyncIterator[World]:
    """The ledger behind ``between``, which takes Redis for silent after 0.2 s."""
    async with world(server.url, through=between.url, timeout=0.2) as made:
        yield made
