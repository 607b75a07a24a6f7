"""In a cluster each partition delivers its ballots by itself: a node that is away holds up its own partitions alone."""

import asyncio
from collections.abc import Awaitable, Callable

from ....domain.ballots import Ballot, Receipt
from ....domain.errors import unavailable
from ..connection.keys import Keys
from .ballot_queue import Load
from .batcher import Batcher


class Partitions:
    """A ``Batcher`` and a connection a partition, so that order is kept in each while slots move between nodes."""

    def __init__(self, make: Callable[[str, int], Batcher], keys: Keys, limit: int) -> None:
        """``make`` takes the key that says where a partition is, and its limit.

        ``limit``: ballots that wait. Beyond it a partition may still have its share: one that hangs cannot take it all.
        """
        self._keys = keys
        self._limit = limit
        self._share = max(1, limit // keys.partitions)
        self._batchers = [make(keys.fence(partition), limit) for partition in range(keys.partitions)]

    @property
    def waiting(self) -> int:
        return sum(batcher.waiting for batcher in self._batchers)

    def cast(self, ballot: Ballot) -> "asyncio.Future[Receipt]":
        batcher = self._batchers[self._keys.route(ballot.poll_id).partition]
        if batcher.waiting >= self._share and self.waiting >= self._limit:
            batcher.counts.refused["UNAVAILABLE"] += 1
            raise unavailable()
        return batcher.cast(ballot)

    async def run(self, load: Load, verify: Callable[[int], Awaitable[None]]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for batcher in self._batchers:
                group.create_task(batcher.run(load, verify))

    async def drain(self) -> None:
        """Wait until nothing waits any more; bounded by the ballots' own deadlines."""
        await asyncio.gather(*(batcher.drain() for batcher in self._batchers))
