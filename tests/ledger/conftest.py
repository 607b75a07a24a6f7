"""Ledgers on a Redis of each test's own, which they stop, fill, cut and empty."""

from collections.abc import AsyncIterator

import pytest

from tests.ledger.proxy import Proxy, proxy
from tests.ledger.world import World, world
from tools.servers import RedisServer


@pytest.fixture
async def here(own_redis: RedisServer) -> AsyncIterator[World]:
    """The ledger with one partition on ``own_redis``."""
    async with world(own_redis.url) as made:
        yield made


@pytest.fixture
async def between(own_redis: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy in front of ``own_redis``."""
    async with proxy(own_redis.url) as made:
        yield made


@pytest.fixture
async def beyond(own_redis: RedisServer, between: Proxy) -> AsyncIterator[World]:
    """The ledger behind ``between``, which takes Redis for silent after 0.5 s."""
    async with world(own_redis.url, through=between.url, timeout=0.5) as made:
        yield made
