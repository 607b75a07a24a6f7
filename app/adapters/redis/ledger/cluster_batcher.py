"""Batching in a cluster. Partitions are independent, so an unreachable node delays only its own partitions."""

import asyncio
from collections.abc import Awaitable, Callable

from ....domain.ballots import Ballot, Receipt
from ....domain.errors import unavailable
from ..connection.keys import Keys
from .ballot_queue import Load
from .batcher import Batcher


class Partitions:
    """One ``Batcher`` and connection per partition, which preserves order while slots move between nodes."""

    def __init__(self, make: Callable[[str, int], Batcher], keys: Keys, limit: int) -> None:
        """``make`` takes a key of the partition and the limit of its queue.

        ``limit``: most queued ballots in total. Beyond it, a partition may still use its fair share, so that a hanging partition
        cannot block the others.
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
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for batcher in self._batchers:
                group.create_task(batcher.run(load, verify))

    async def drain(self) -> None:
        """Wait until no ballot is queued. The deadlines of the ballots bound the wait."""
        await asyncio.gather(*(batcher.drain() for batcher in self._batchers))
