"""Redis pub/sub that detects lost connections.

The library reconnects silently, ``subscribe()`` returns before the server confirms, and a half-open connection is never noticed.
Here a lost or silent connection is detected within ``PING_SECONDS + PONG_SECONDS``. Every channel is then subscribed again,
and listeners are told to reload what they may have missed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from redis.asyncio.client import PubSub

from ....domain.ballots import PollState
from ....domain.errors import unavailable
from ....ports.messaging import ViewerCount
from ....utils import logger
from ....utils.shared_wait import outcome
from ..connection.client import ANSWER_SECONDS, REFUSED, SILENT
from ..connection.cluster import Client
from ..connection.keys import Keys
from ..connection.poll_state import parse_state

PING_SECONDS = 1.0
PONG_SECONDS = 2.0
CONFIRM_SECONDS = 2.0
BACKOFF_SECONDS = (0.05, 0.5)
"""All instances stay disconnected from pub/sub for this long after an outage of Redis, so it is short."""

_log = logger.get(__name__)


class RedisBus:
    def __init__(self, client: Client, keys: Keys, shard: str = "") -> None:
        """``client`` must not have a read timeout: the deadlines are enforced here.

        ``shard``: hash tag of the partition for sharded pub/sub, empty for plain pub/sub.
        """
        self._client = client
        self._shard = shard
        self._keys = keys
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._pubsub: PubSub | None = None
        self.deaf = True

    def channel(self, name: str) -> str:
        return self._keys.feed(name)

    def handle(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Subscribe to a channel on every connection. Add at least one channel before ``run``."""
        self._handlers[channel] = on_message

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._listeners.append(callback)

    async def publish(self, channel: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await (self._client.spublish if self._shard else self._client.publish)(channel, payload)
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        self._handlers[channel] = on_message
        if self._pubsub is None:
            self._handlers.pop(channel, None)
            raise unavailable()
        confirmed = self._waiting.get(channel)
        if confirmed is None:
            confirmed = self._waiting[channel] = asyncio.get_running_loop().create_future()
        try:
            await self._subscribe(self._pubsub, channel)
            async with asyncio.timeout(CONFIRM_SECONDS):
                await outcome(confirmed)
        except (*SILENT, *REFUSED) as error:
            self._handlers.pop(channel, None)
            raise unavailable() from error

    async def unsubscribe(self, channel: str) -> None:
        self._handlers.pop(channel, None)
        if self._pubsub is not None:
            try:
                await (self._pubsub.sunsubscribe if self._shard else self._pubsub.unsubscribe)(channel)
            except (*SILENT, *REFUSED):
                return  # the subscription ended with its connection

    async def run(self) -> None:
        """Run until cancelled."""
        pause, most = BACKOFF_SECONDS
        while True:
            pubsub: PubSub | None = None
            try:
                pubsub = await self._open()
                await self._listen(pubsub)
            except (*SILENT, *REFUSED) as error:
                if self._shard:
                    self._client.doubt(self._shard)
                if not self.deaf:
                    pause = BACKOFF_SECONDS[0]
                    _log.warning("pub/sub connection lost", error=str(error)[:200])
            finally:
                self.deaf = True
                self._pubsub = None
                for confirmed in self._waiting.values():
                    confirmed.set_exception(ConnectionResetError("pub/sub connection lost"))
                    confirmed.exception()
                self._waiting.clear()
                if pubsub is not None:
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(pause)
            pause = min(pause * 2, most)

    async def _open(self) -> PubSub:
        client = await (self._client.node(self._shard) if self._shard else self._client.any_node())
        return client.pubsub()

    async def _subscribe(self, pubsub: PubSub, *channels: str) -> None:
        await (pubsub.ssubscribe if self._shard else pubsub.subscribe)(*channels)

    async def _listen(self, pubsub: PubSub) -> None:
        missing = set(self._handlers)
        # Without this timeout the library waits forever for a server that accepts the connection but never replies.
        async with asyncio.timeout(CONFIRM_SECONDS):
            await self._subscribe(pubsub, *missing)
        pinged = time.monotonic()
        waiting_for_pong = False
        again: asyncio.Task[None] | None = None
        self._pubsub = pubsub
        try:
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=False, timeout=PING_SECONDS)
                now = time.monotonic()
                if message is None:
                    if waiting_for_pong and now - pinged > PONG_SECONDS:
                        raise ConnectionError("no answer to a ping")
                    if not waiting_for_pong:
                        waiting_for_pong, pinged = True, now
                        await pubsub.ping()
                    continue
                waiting_for_pong = False
                if message["type"] in ("message", "smessage"):
                    self._hand_on(message["channel"].decode(), message["data"])
                elif message["type"] == "sunsubscribe" and message["channel"].decode() in self._handlers:
                    raise ConnectionError("the slot has moved")
                elif message["type"] in ("subscribe", "ssubscribe"):
                    channel = message["channel"].decode()
                    missing.discard(channel)
                    confirmed = self._waiting.pop(channel, None)
                    if confirmed is not None and not confirmed.done():
                        confirmed.set_result(None)
                    if not missing and self.deaf:
                        self.deaf = False
                        again = asyncio.create_task(self._tell())
        finally:
            if again is not None:
                again.cancel()

    def _hand_on(self, channel: str, payload: bytes) -> None:
        handler = self._handlers.get(channel)
        if handler is None:
            return
        try:
            handler(payload)
        except Exception:
            _log.exception("message handler failed", channel=channel)

    async def _tell(self) -> None:
        for listener in self._listeners:
            try:
                await listener()
            except Exception as error:
                _log.warning("reload after reconnect failed", error=repr(error)[:200])


class Subscriptions(Protocol):
    """``RedisBus`` or ``ShardedBus``."""

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def publish(self, channel: str, payload: bytes) -> None: ...

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None: ...


class RedisFeeds:
    """The feeds port on a bus. Scripts publish states; instances publish ``["viewers", instance, count, hello]``."""

    def __init__(self, bus: Subscriptions, keys: Keys) -> None:
        self._bus = bus
        self._keys = keys

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._bus.on_reconnect(callback)

    async def subscribe(self, poll_id: str, on_message: Callable[[PollState | ViewerCount], None]) -> None:
        def decode(payload: bytes) -> None:
            message = msgspec.msgpack.decode(payload)
            if message[0] == "viewers":
                on_message(ViewerCount(*message[1:4]))
            else:
                on_message(parse_state(poll_id, message))

        await self._bus.subscribe(self._keys.feed(poll_id), decode)

    async def unsubscribe(self, poll_id: str) -> None:
        await self._bus.unsubscribe(self._keys.feed(poll_id))

    async def announce(self, poll_id: str, count: ViewerCount) -> None:
        payload = msgspec.msgpack.encode(("viewers", count.instance, count.viewers, count.hello))
        await self._bus.publish(self._keys.feed(poll_id), payload)
