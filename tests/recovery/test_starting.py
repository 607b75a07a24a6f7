"""A process that starts while Redis cannot verify waits, as it waits for a Redis that does not answer yet."""

import pytest
import redis.asyncio

from tests.recovery.site import Site, repeats

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
