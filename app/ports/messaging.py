"""Messages between instances, and to Kafka."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from ..domain.ballots import PollState

Message = tuple[bytes, bytes]


"""Key and value."""


class Topic(Protocol):
    """The topic for other systems, with as many partitions as the log. Every call raises ``UNAVAILABLE`` after a bounded wait."""

    async def ready(self) -> None:
        """Returns once the topic exists and accepts messages."""

    async def send(self, partition: int, messages: Sequence[Message]) -> None:
        """Returns when they are kept, in this order. Once a partition at a time.

        After ``UNAVAILABLE`` some of them may be there, or come late: whoever sends them again sends all.
        """

    async def close(self) -> None: ...


class Bus(Protocol):
    """Messages between instances. Lossy: listeners must read again after every reconnect."""

    async def publish(self, channel: str, payload: bytes) -> None: ...

    def channel(self, name: str) -> str:
        """Publish on a channel of all instances. ``name`` must not be the ID of a poll."""

    def handle(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Listen to a channel for the life of the process, from the first connection on."""

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None: ...


class ViewerCount(Struct, frozen=True):
    """How many viewers of a poll or deck an instance has. ``hello``: the others are asked to announce theirs."""

    instance: str
    viewers: int
    hello: bool


class Feeds(Protocol):
    """Updates about a poll: its state, published with every change, and viewer counts of other instances. Lossy."""

    async def subscribe(self, poll_id: str, on_message: Callable[[PollState | ViewerCount], None]) -> None:
        """Returns when the server has confirmed it."""

    async def unsubscribe(self, poll_id: str) -> None: ...

    async def announce(self, poll_id: str, count: ViewerCount) -> None: ...

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call ``callback`` after each reconnect, to read what may have been missed."""
