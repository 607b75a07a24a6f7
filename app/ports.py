"""What the services need of the outside. Each Protocol has two implementations, or cuts a library off."""

from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from app.modules.poll.types import Rules
from app.modules.vote.types import (
    Ballot,
    BallotRow,
    Filled,
    Hold,
    LogEntry,
    PollChange,
    PollState,
    Receipt,
    Standing,
)
from app.utils.errors import PollroomError

Value = str | int | None
Message = tuple[bytes, bytes]
"""Key and value."""


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the epoch by the one clock of all instances: Redis ``TIME`` plus monotonic time since."""


class Queries(Protocol):
    """Named queries of ``sql/queries/``, on one connection in a transaction or each on its own.

    Raises ``DuplicateKey``, ``BadRow`` (the data's fault), or ``PollroomError('UNAVAILABLE')`` for everything that may
    pass: no connection within the limit, a lost one, a deadlock, a lock timeout, a full disk.
    """

    async def all(self, query: str, **values: Value) -> list[dict[str, Any]]: ...

    async def one(self, query: str, **values: Value) -> dict[str, Any] | None: ...

    async def run(self, query: str, **values: Value) -> int:
        """Execute a writing query; the number of rows that it matched."""

    async def bulk(self, query: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Execute a multi-row ``INSERT … VALUES`` for all rows, in as few statements as the server allows."""


class Database(Queries, Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Queries]:
        """One transaction on one connection: committed at the end, rolled back by an exception.

        On SQLite it begins ``IMMEDIATE``: one writer at a time.
        """


class Ledger(Protocol):
    """Ballots, counts, seq and closing. Every call raises ``UNAVAILABLE`` after a bounded wait."""

    def cast(self, ballot: Ballot) -> Future[Receipt]:
        """Queue a ballot at once, in calling order; the receipt comes when it is on disk.

        Raises the contract's codes, and ``UNAVAILABLE`` at once where too many wait.
        """

    async def read(self, poll_id: str, voter_id: str | None = None) -> tuple[PollState, Standing | None]:
        """The poll now (opened and closed first where due), and what the voter has in it. Loads an absent poll."""

    async def peek(self, poll_ids: Sequence[str]) -> dict[str, PollState]:
        """The states of those polls that the ledger holds, without loading."""

    async def accepted(self, poll_id: str, voter_ids: Sequence[str]) -> set[str]:
        """Those of the voters who ever had a vote accepted in the poll."""

    async def hold(self, poll_id: str) -> Hold:
        """Fence a poll off for an edit or for loading: votes wait until ``install`` or ``release``, or 5 s.

        Raises ``Busy`` where another one holds it.
        """

    async def fill(self, held: Hold, rules: Rules, rows: Sequence[BallotRow]) -> None:
        """Bring in a chunk of an absent poll's ballots, 2,000 at most; renews the hold. ``Busy`` where it was lost."""

    async def install(
        self, held: Hold, rules: Rules, *, new_times: bool = False, filled: Filled | None = None
    ) -> tuple[PollState, bool]:
        """Take the rules over and end the hold; the state, and whether new times came too late (the poll had closed)."""

    async def release(self, held: Hold) -> None: ...

    async def close(self, poll_id: str) -> PollState: ...

    async def recount(self, poll_id: str) -> PollState | None:
        """Count the poll's ballots anew; none where the ledger does not hold the poll."""

    async def delete(self, poll_id: str) -> PollState: ...


class Busy(Exception):
    """The ledger cannot say now (held by another, not verified, no answer): leave the transaction, wait, begin anew."""


class VoteLog(Protocol):
    """The log of one partition after another, as the worker reads it."""

    async def read(
        self, offsets: Mapping[int, tuple[int, str]], count: int, block_ms: int
    ) -> dict[int, list[LogEntry]]:
        """Entries after ``offsets`` (partition -> generation, last id), at most ``count`` a partition."""

    async def trim(self, partition: int, generation: int, bound: str) -> None:
        """Drop entries up to and with ``bound``."""

    async def discard(self, partition: int, generation: int) -> None:
        """Remove the log of a generation that has ended, once it is stored."""

    async def last_id(self, partition: int, generation: int) -> str: ...

    async def length(self, generations: Mapping[int, int]) -> int:
        """Entries in the logs of these generations (by partition) together."""


class Topic(Protocol):
    """Where ballots go for others, as many partitions as the log has. Every call raises ``UNAVAILABLE`` after a bounded wait."""

    async def ready(self) -> None:
        """It is there, and takes messages."""

    async def send(self, partition: int, messages: Sequence[Message]) -> None:
        """Returns when they are kept, in this order. Once a partition at a time.

        After ``UNAVAILABLE`` some of them may be there, or come late: whoever sends them again sends all.
        """

    async def close(self) -> None: ...


class FenceState(Protocol):
    """``run``: the server's run id now; ``verified``: the one that the fence names, none without a fence."""

    @property
    def run(self) -> str: ...

    @property
    def verified(self) -> str | None: ...

    @property
    def generation(self) -> int: ...

    @property
    def trimmed(self) -> str:
        """The last entry of this generation that was dropped from the log, ``0-0`` for none."""


class Fences(Protocol):
    """Which server a partition's data was last compared with SQL on."""

    async def inspect(self, partition: int) -> FenceState: ...

    async def write(self, partition: int, run: str, generation: int) -> bool:
        """False where the server was restarted since ``inspect`` saw ``run``."""

    async def trusted(self) -> bool:
        """Whether a restart of this server loses nothing that was acknowledged."""

    async def settle(self, partition: int) -> None:
        """Returns once nothing of a batch that was cut off can come back with a later restart. ``UNAVAILABLE`` if not soon."""


class Shelf(Protocol):
    """The ledger as a whole: what it holds, and taking polls out of it."""

    def polls(self, partition: int | None = None) -> AsyncIterator[list[str]]: ...

    async def seqs(self, poll_ids: Sequence[str]) -> dict[str, int]: ...

    async def endings(self, poll_ids: Sequence[str]) -> list[PollChange]:
        """The closings and deletions of these polls, with the polls' seqs."""

    async def drop(self, poll_id: str, seq: int) -> bool:
        """Remove a poll whose seq is below this one; never while votes are taken in its partition."""

    async def unload(self, poll_id: str, generation: int, last_id: str, idle_seconds: int) -> bool:
        """Let go of a poll that nobody asked for so long, and of which SQL (at ``last_id``) has everything."""

    def ballots(self, poll_id: str, epoch: int) -> AsyncIterator[list[BallotRow]]:
        """All ballots of a poll as SQL rows, in chunks."""

    def partition(self, poll_id: str) -> int: ...


class NotKept(PollroomError):
    """``UNAVAILABLE``, and nothing came of the call: the storage refused it, or was not asked."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", retry_after=2.0)


class Storage(Protocol):
    """Small public files that never change: a name is used once. Letters, digits, ``_`` and ``-``, then ``.webp``.

    Every call raises ``UNAVAILABLE`` after a bounded wait, and at once where too many wait.
    """

    async def put(self, name: str, data: bytes, content_type: str) -> None:
        """It is kept when this returns; nobody sees a part of it. ``NotKept`` where it certainly is not."""

    async def get(self, name: str) -> bytes | None: ...

    async def delete(self, name: str) -> None:
        """Also what is not there."""

    def url(self, name: str) -> str:
        """Where clients read it without a token: an address, or a path on this server."""


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


class Update(Protocol):
    """The newest of one poll, to be shown: encoded at most once for each audience."""

    @property
    def poll_id(self) -> str: ...

    @property
    def kind(self) -> str:
        """``POLL_UPDATE``, ``POLL_CHANGED`` or ``POLL_DELETED``."""

    def sees(self, *, owner: bool, voted: bool) -> bool:
        """Whether such a reader may see the counts."""

    def encoded(self, counts: bool) -> bytes:
        """The JSON message with or without counts."""


class Sink(Protocol):
    """A transport's sockets in rooms. Called by the feeds, never blocks."""

    def viewers(self, poll_id: str) -> int: ...

    def unsure(self, poll_id: str) -> list[str]:
        """Users in the room who are not known to have voted."""

    def voted(self, poll_id: str, voter_ids: set[str]) -> None:
        """These have voted, as it turned out: they may see more from now on."""

    def deliver(self, update: Update) -> None: ...
