"""Accepted ballots in order, until SQL has them."""

from collections.abc import Mapping
from typing import Protocol

from ..domain.ballots import LogContent, LogEntry
from ..domain.log_position import LogPlace, LogPosition


class VoteLog(Protocol):
    """The log of one partition after another, as the worker reads it."""

    async def read(
        self, offsets: Mapping[int, LogPlace], count: int, block_ms: int
    ) -> dict[int, list[LogEntry]]:
        """Entries after ``offsets`` (by partition), at most ``count`` per partition."""

    def decode(self, payload: bytes, generation: int) -> LogContent:
        """Decode the bytes of an entry, for dead letters."""

    async def trim(self, partition: int, generation: int, bound: LogPosition) -> None:
        """Drop entries up to and including ``bound``."""

    async def discard(self, partition: int, generation: int) -> None:
        """Remove the log of a generation that has ended, once it is stored."""

    async def last_id(self, partition: int, generation: int) -> LogPosition: ...

    async def length(self, generations: Mapping[int, int]) -> int:
        """The number of entries in the logs of these generations (by partition), summed."""
