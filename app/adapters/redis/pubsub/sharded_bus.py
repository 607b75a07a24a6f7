"""Sharded pub/sub of a cluster: one connection per partition for its feeds, and one for all other channels."""

import asyncio
from collections.abc import Awaitable, Callable

from ....utils import logger
from ..connection.cluster import Client
from ..connection.keys import Keys
from .bus import RedisBus

_log = logger.get(__name__)


class ShardedBus:
    """Each ``RedisBus`` follows its slot when it moves to another node."""

    def __init__(self, client: Client, keys: Keys) -> None:
        """``client`` must be a cluster client without a read timeout."""
        self._keys = keys
        self._plain = RedisBus(client, keys)
        self._shards = [RedisBus(client, keys, keys.tag(number)) for number in range(keys.partitions)]
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._missed = asyncio.Event()
        for number, shard in enumerate(self._shards):
            shard.handle(f"{keys.tag(number)}:here", _nothing)
        for bus in (self._plain, *self._shards):
            bus.on_reconnect(self._again)

    @property
    def deaf(self) -> bool:
        """Whether every connection is lost. If only some nodes are unreachable, their polls accept no votes on any instance."""
        return self._plain.deaf and all(shard.deaf for shard in self._shards)

    def channel(self, name: str) -> str:
        return self._keys.feed(name)

    def handle(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Subscribe to a channel on every connection. Add at least one channel before ``run``."""
        self._bus(channel).handle(channel, on_message)

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._listeners.append(callback)

    async def publish(self, channel: str, payload: bytes) -> None:
        await self._bus(channel).publish(channel, payload)

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        await self._bus(channel).subscribe(channel, on_message)

    async def unsubscribe(self, channel: str) -> None:
        await self._bus(channel).unsubscribe(channel)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            for bus in (self._plain, *self._shards):
                group.create_task(bus.run())

    def _bus(self, channel: str) -> RedisBus:
        tag, brace, _ = channel.partition("}")
        return self._shards[int(tag[2:])] if brace and tag.startswith("{p") else self._plain

    async def _again(self) -> None:
        self._missed.set()

    async def _tell(self) -> None:
        """Notify listeners once for all connections that came back together."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            for listener in self._listeners:
                try:
                    await listener()
                except Exception as error:
                    _log.warning("reload after reconnect failed", error=repr(error)[:200])


def _nothing(_: bytes) -> None:
    """Ignore messages of the channel that only keeps a connection subscribed."""
