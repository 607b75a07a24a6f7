"""Pub/sub: confirmed before it counts, noticed when it is lost, and whole again afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import redis.asyncio

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.pubsub.bus import RedisBus
from app.domain.errors import PollroomError
from tests.ledger.proxy import Proxy
from tools.harness.wait import eventually
from tools.servers import RedisServer

NOTICED_SECONDS = 5


class Listener:
    """A bus with the channel ``sessions``, and what it has heard. ``rereads``: connections that it was told of."""

    def __init__(self, url: str, direct: "redis.asyncio.Redis") -> None:
        self.client = connect(url, timeout=None)
        self.direct = direct
        self.bus = RedisBus(self.client, Keys(1))
        self.heard: dict[str, list[bytes]] = {}
        self.rereads = 0
        self.bus.handle("sessions", self.on("sessions"))
        self.bus.on_reconnect(self._reread)

    def on(self, channel: str) -> Callable[[bytes], None]:
        return self.heard.setdefault(channel, []).append

    async def _reread(self) -> None:
        self.rereads += 1

    async def reread(self, times: int, timeout: float = NOTICED_SECONDS) -> None:
        await eventually(
            lambda: asyncio.sleep(0, self.rereads), lambda n: n >= times, timeout, "told to reread"
        )

    async def subscribe(self, channel: str) -> None:
        await self.bus.subscribe(channel, self.on(channel))

    async def hears(self, channel: str, payload: bytes) -> None:
        """One that is published now arrives."""
        assert await self.direct.publish(channel, payload) == 1
        await eventually(lambda: asyncio.sleep(0, self.heard[channel]), lambda got: payload in got)


@asynccontextmanager
async def listening(url: str, server: RedisServer) -> AsyncIterator[Listener]:
    async with redis.asyncio.from_url(server.url) as direct:
        made = Listener(url, direct)
        running = asyncio.ensure_future(made.bus.run())
        try:
            await made.reread(1)
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await made.client.aclose()


@pytest.fixture
async def here(own_redis: RedisServer) -> AsyncIterator[Listener]:
    async with listening(own_redis.url, own_redis) as made:
        yield made


@pytest.fixture
async def beyond(own_redis: RedisServer, between: Proxy) -> AsyncIterator[Listener]:
    """Behind ``between``."""
    async with listening(between.url, own_redis) as made:
        yield made


async def test_a_subscription_counts_when_redis_has_confirmed_it(beyond: Listener, between: Proxy) -> None:
    between.pause()
    subscribing = asyncio.ensure_future(beyond.subscribe("a"))
    await between.held.wait()
    assert await beyond.direct.pubsub_numsub("a") == [(b"a", 0)]
    assert not subscribing.done()
    between.resume()
    await subscribing
    assert await beyond.direct.pubsub_numsub("a") == [(b"a", 1)]
    await beyond.hears("a", b"1")
    assert beyond.rereads == 1


async def test_a_subscription_that_is_not_confirmed_is_unavailable(beyond: Listener, between: Proxy) -> None:
    between.swallow = 1
    began = time.monotonic()
    with pytest.raises(PollroomError) as refused:
        await beyond.subscribe("a")
    assert refused.value.code == "UNAVAILABLE"
    assert time.monotonic() - began < 3
    await beyond.subscribe("a")
    await beyond.hears("a", b"1")


async def test_what_is_no_longer_subscribed_is_not_heard(here: Listener) -> None:
    await here.subscribe("a")
    await here.hears("a", b"1")
    await here.bus.unsubscribe("a")
    await eventually(lambda: here.direct.pubsub_numsub("a"), lambda n: n == [(b"a", 0)])
    await here.subscribe("a")
    await here.hears("a", b"2")
    assert here.heard["a"] == [b"1", b"2"]


async def test_a_handler_that_fails_makes_nobody_deaf(here: Listener) -> None:
    def fail(payload: bytes) -> None:
        raise ValueError(payload)

    await here.bus.subscribe("bad", fail)
    await here.subscribe("good")
    assert await here.direct.publish("bad", b"1") == 1
    await here.hears("good", b"1")
    assert not here.bus.deaf


async def test_killed_connections_come_back_with_all_channels(here: Listener) -> None:
    for n in range(3):
        await here.subscribe(f"c{n}")
    for times in range(2, 5):
        assert await here.direct.client_kill_filter(_type="pubsub") == 1
        await here.reread(times)
        assert not here.bus.deaf
        for channel in here.heard:
            await here.hears(channel, b"%d" % times)


async def test_channels_that_are_asked_for_while_the_connection_dies_are_heard_or_refused(
    here: Listener,
) -> None:
    taken, codes = [], set[str]()
    for n in range(6):
        killing = asyncio.ensure_future(here.direct.client_kill_filter(_type="pubsub"))
        try:
            async with asyncio.timeout(5):
                await here.subscribe(f"c{n}")
            taken.append(f"c{n}")
        except PollroomError as refused:
            codes.add(refused.code)
        await killing
        await here.reread(n + 2)
    assert codes <= {"UNAVAILABLE"}
    for channel in ["sessions", *taken]:
        await eventually(partial(here.direct.pubsub_numsub, channel), lambda got: got[0][1] == 1)
        await here.hears(channel, b"1")


async def test_a_restarted_redis_is_found_again(here: Listener, own_redis: RedisServer) -> None:
    await here.subscribe("a")
    own_redis.kill()
    await eventually(lambda: asyncio.sleep(0, here.bus.deaf), bool)
    with pytest.raises(PollroomError):
        await here.subscribe("b")
    own_redis.start()
    await here.reread(2)
    await here.hears("a", b"1")


async def test_a_half_open_connection_is_noticed_within_5_s(beyond: Listener, between: Proxy) -> None:
    """Nobody says that it is gone; new ones work."""
    await beyond.subscribe("a")
    await beyond.hears("a", b"1")
    between.mute()
    began = time.monotonic()
    await beyond.reread(2)
    assert time.monotonic() - began < NOTICED_SECONDS
    await eventually(lambda: beyond.direct.publish("a", b"2"), lambda receivers: receivers > 0)
    await eventually(lambda: asyncio.sleep(0, beyond.heard["a"]), lambda got: b"2" in got)


async def test_when_nothing_passes_at_all_it_is_deaf_and_hears_again_afterwards(
    beyond: Listener, between: Proxy
) -> None:
    """New connections open, and nothing comes back on them, neither what was sent meanwhile."""
    await beyond.subscribe("a")
    between.silence()
    await eventually(lambda: asyncio.sleep(0, beyond.bus.deaf), bool, NOTICED_SECONDS)
    between.lost.clear()
    connections = between.connections
    await eventually(lambda: asyncio.sleep(0, between.connections), lambda n: n > connections)
    await between.lost.wait()
    between.speak()
    await beyond.reread(2)
    await eventually(lambda: beyond.direct.publish("a", b"2"), lambda receivers: receivers > 0)
    await eventually(lambda: asyncio.sleep(0, beyond.heard["a"]), lambda got: b"2" in got)
