"""A feed that somebody is about to join is kept, however long reading the poll takes."""

import asyncio
from contextlib import suppress

import pytest

from app.adapters.redis.connection.cluster import open_client
from app.adapters.redis.pubsub.bus import RedisBus, RedisFeeds
from app.services.rooms import broadcaster as module
from app.services.rooms.broadcaster import Broadcaster
from app.services.rooms.presence import Timing
from tests.recovery.site import Site

pytestmark = pytest.mark.anyio


async def test_no_feed_is_given_up_under_a_subscriber(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeds without viewers are given up at once here, by rounds that come every millisecond."""
    monkeypatch.setattr(module, "KEEP_FEED_SECONDS", -1.0)
    async with site.open() as node:
        stores = node.stores
        client = open_client(site.redis.url, timeout=None)
        bus = RedisBus(client, stores.keys)
        bus.handle("sessions", lambda _: None)
        broadcaster = Broadcaster(
            stores.ledger,
            stores.reader,
            RedisFeeds(bus, stores.keys),
            stores.clock,
            Timing("one", 0.1, 0.003),
        )
        tasks = [asyncio.create_task(bus.run()), asyncio.create_task(broadcaster.run())]
        try:
            async with asyncio.timeout(10):
                while bus.deaf:
                    await asyncio.sleep(0.01)
            for _ in range(20):
                poll = await node.poll()
                feed, _ = await broadcaster.subscribe(poll.id, None)
                assert broadcaster.feed_of(poll.id) is feed
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await client.aclose()
