"""Queues of ballots in this process, one per partition, in order of arrival.

Ballots of a leased or absent poll are parked with all later ballots of that poll, so that other polls do not wait. They
return to the front of their queue in order, or are answered without Redis.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from ....domain.ballots import Ballot, Receipt
from ....domain.errors import PollroomError, unavailable
from ....utils import logger
from ..connection.keys import Keys
from .batch import DEADLINE_SECONDS, Counts, QueuedBallot

LEASED_SECONDS = 0.01
FINAL = ("POLL_CLOSED", "BALLOT_ID_REUSED")
"""Refusals that every later copy of a ballot also receives."""

Load = Callable[[str], Awaitable[Callable[[Ballot], Awaitable[Receipt]] | None]]
"""Loads an absent poll into Redis, or returns a function that answers its ballots."""

_log = logger.get(__name__)


class Queues:
    """``waiting``: ballots queued or in flight. ``by_partition``: ballots to send. ``due`` is set when there are some."""

    def __init__(self, keys: Keys, limit: int, counts: Counts) -> None:
        """``limit``: most ballots queued or in flight."""
        self._keys = keys
        self._limit = limit
        self._counts = counts
        self._parked: dict[str, deque[QueuedBallot]] = {}
        self._delayed: set[QueuedBallot] = set()
        # Stored because CPython 3.11 makes a system call per lookup.
        self._loop = asyncio.get_running_loop()
        self.by_partition: dict[int, deque[QueuedBallot]] = {}
        self.due = asyncio.Event()
        self.waiting = 0

    def cast(self, ballot: Ballot) -> "asyncio.Future[Receipt]":
        if self.waiting >= self._limit:
            self._counts.refused["UNAVAILABLE"] += 1
            raise unavailable()
        future: asyncio.Future[Receipt] = self._loop.create_future()
        entry = QueuedBallot(ballot, future, time.monotonic())
        self.waiting += 1
        parked = self._parked.get(ballot.poll_id)
        if parked is not None:
            parked.append(entry)
            return future
        partition = self._keys.route(ballot.poll_id).partition
        queue = self.by_partition.get(partition)
        if queue is None:
            queue = self.by_partition[partition] = deque()
        queue.append(entry)
        self.due.set()
        return future

    def refuse(self, entry: QueuedBallot, error: PollroomError, over: float = 0.0) -> None:
        """Refuse a ballot once no lost copy of it can still be accepted, because Redis does not store refusals.

        ``over``: monotonic time when that is the case; the later of this and the time of the entry counts. A delayed refusal does
        not count as waiting.
        """
        self._counts.refused[error.code] += 1
        wait = max(entry.copy_may_run_until, over) - time.monotonic()
        if wait <= 0 or error.code in FINAL:
            entry.fail(error)
        else:
            self._delayed.add(entry)
            self._loop.call_later(wait, self._answer_late, entry, error)

    def _answer_late(self, entry: QueuedBallot, error: PollroomError) -> None:
        self._delayed.discard(entry)
        entry.fail(error)

    def park(self, partition: int, poll_id: str, entries: list[QueuedBallot]) -> None:
        """Park ballots, and all later ballots of their poll, until ``unpark`` has finished."""
        queue = self.by_partition[partition]
        later = [entry for entry in queue if entry.ballot.poll_id == poll_id]
        if later:
            kept = [entry for entry in queue if entry.ballot.poll_id != poll_id]
            queue.clear()
            queue.extend(kept)
        self._parked[poll_id] = deque([*entries, *later])

    async def unpark(self, partition: int, poll_id: str, load: Load | None) -> None:
        """Load an absent poll, or wait briefly for a leased one (no ``load``), then queue or answer its ballots."""
        answer, error = None, None
        try:
            if load is not None:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    answer = await load(poll_id)
            else:
                await asyncio.sleep(LEASED_SECONDS)
        except PollroomError as refused:
            error = refused
        except Exception as failed:
            _log.warning("poll not loaded", poll=poll_id, error=repr(failed)[:200])
            error = unavailable()
        parked = self._parked[poll_id]
        while parked and (answer or error):
            if answer is None:
                self.refuse(parked[0], error or unavailable())
            else:
                await self._answer_elsewhere(parked[0], answer)
            parked.popleft()
            self.waiting -= 1
        del self._parked[poll_id]
        self.by_partition[partition].extendleft(reversed(parked))
        self.due.set()

    async def _answer_elsewhere(
        self, entry: QueuedBallot, answer: Callable[[Ballot], Awaitable[Receipt]]
    ) -> None:
        try:
            receipt = await answer(entry.ballot)
            self._counts.repeated += 1
            if not entry.future.done():
                entry.future.set_result(receipt)
        except PollroomError as refused:
            self._counts.refused[refused.code] += 1
            entry.fail(refused)
        except Exception as failed:
            _log.warning("ballot not answered", poll=entry.ballot.poll_id, error=repr(failed)[:200])
            self._counts.refused["UNAVAILABLE"] += 1
            entry.fail(unavailable())

    def end(self) -> None:
        """Answer all queued ballots with ``UNAVAILABLE``."""
        for queue in [*self.by_partition.values(), *self._parked.values(), self._delayed]:
            for entry in queue:
                entry.fail(unavailable())
        for partition in self.by_partition.values():
            partition.clear()
        self._parked.clear()
        self._delayed.clear()
        self.waiting = 0
