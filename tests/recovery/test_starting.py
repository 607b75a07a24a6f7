"""A process that starts while Redis cannot verify waits, as it waits for a Redis that does not answer yet."""

import time
from pathlib import Path

import pytest
import redis.asyncio

from tests.recovery.site import Site, received, repeats
from tests.recovery.test_emptied import restart
from tools.servers import RedisServer

pytestmark = pytest.mark.anyio

PAUSED_MS = 2500
"""Longer than the app takes an answer for lost."""


async def test_a_start_outlasts_a_redis_that_takes_no_writes_for_the_moment(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        first = await node.vote(poll, "v1", "one", 0)
    site.redis.stop()
    site.redis.start()
    async with redis.asyncio.from_url(site.redis.url) as client:
        await client.client_pause(PAUSED_MS, all=False)
    async with site.open() as node:
        repeats(await node.vote(poll, "v1", "one", 0), first)


async def test_all_partitions_of_an_emptied_redis_wait_at_the_same_time(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    """Every process was restarted: each waits whether another Redis is in use, once and not per partition."""
    site = Site(tmp_path, own_redis, None, 8, silence_seconds=1.0)
    async with site.open() as node:
        poll = await node.poll()
        received(await node.vote(poll, "ann", "one", 0))
        await node.drain()
    restart(site.redis, empty=True)
    began = time.monotonic()
    async with site.open() as node:
        assert time.monotonic() - began < 5
        assert await node.tally(poll) == await node.in_sql(poll)
