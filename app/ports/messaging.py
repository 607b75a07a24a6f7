"""Messages between instances, and to Kafka."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

Message = tuple[bytes, bytes]


"""Key and value."""


class Topic(Protocol):
    """Where ballots go for others, as many partitions as the log has. Every call raises ``UNAVAILABLE`` after a bounded wait."""

    async def ready(self) -> None:
        """It is there, and takes messages."""

    async def send(self, partition: int, messages: Sequence[Message]) -> None:
        """Returns when they are kept, in this order. Once a partition at a time.

        After ``UNAVAILABLE`` some of them may be there, or come late: whoever sends them again sends all.
        """

    async def close(self) -> None: ...


class Bus(Protocol):
    """Messages between instances. Lossy: who listens must read anew after every reconnect."""

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Returns when the server has confirmed it."""

    async def unsubscribe(self, channel: str) -> None: ...

    async def publish(self, channel: str, payload: bytes) -> None: ...

    def feed_channel(self, poll_id: str) -> str: ...

    def handle(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Listen to a channel for the whole life of the process, from the first connection on."""

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None: ...
