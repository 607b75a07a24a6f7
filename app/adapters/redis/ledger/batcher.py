"""Sends queued ballots to Redis in batches: one script call per partition, all due partitions in one pipeline.

At most one pipeline is in flight, which preserves the order of arrival. A single ballot is sent at once. A batch without a reply
is sent again unchanged before later ballots of its partition; other partitions do not wait. Each batch carries a deadline
in Redis ``TIME`` after which the script writes nothing. ``UNAVAILABLE`` is sent only after the deadline, so a late execution
cannot overtake the next request of the client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from redis.exceptions import NoScriptError

from ....domain.ballots import Ballot, Receipt
from ....domain.commitments import short_ballot_id
from ....domain.errors import PollroomError, unavailable
from ....utils import logger
from ..connection.client import REFUSED, SILENT
from ..connection.clock import RedisClock
from ..connection.keys import Keys
from ..connection.pipe import Pipe
from ..connection.scripts import Scripts
from .ballot_queue import Load, Queues
from .batch import DEADLINE_SECONDS, Batch, Counts, QueuedBallot

LARGEST_BATCH = 256
RETRY_SECONDS = 0.05
MARGIN_SECONDS = 0.01
"""Added to the end of a batch before its reply is given up, so that no copy can still run."""

_decode = msgspec.msgpack.Decoder(list[Any]).decode
_log = logger.get(__name__)


class Batcher:
    def __init__(
        self,
        scripts: Scripts,
        pipe: Pipe,
        keys: Keys,
        clock: RedisClock,
        generations: dict[int, int],
        *,
        limit: int,
        publish: str,
        counts: Counts,
    ) -> None:
        """``generations`` maps a partition to its generation; the ledger keeps it current. ``limit``: most queued ballots."""
        self._scripts = scripts
        self._pipe = pipe
        self._keys = keys
        self._clock = clock
        self._generations = generations
        self._publish = publish
        self._queues = Queues(keys, limit, counts)
        # Batches to send again, at most one per partition.
        self._stuck: dict[int, Batch] = {}
        self._give_up: float | None = None
        self._due = self._queues.due
        self.counts = counts
        self._load: Load
        self._verify: Callable[[int], Awaitable[None]]
        self._tasks: asyncio.TaskGroup

    @property
    def waiting(self) -> int:
        return self._queues.waiting

    def cast(self, ballot: Ballot) -> "asyncio.Future[Receipt]":
        return self._queues.cast(ballot)

    async def run(self, load: Load, verify: Callable[[int], Awaitable[None]]) -> None:
        """Run until cancelled. May be called again after a failure. ``load`` loads an absent poll into Redis.

        ``verify`` starts the verification of a fenced partition. It must not wait: other partitions would wait, too.
        """
        self._load, self._verify = load, verify
        batches: list[Batch] = []
        try:
            async with asyncio.TaskGroup() as self._tasks:
                while True:
                    await self._due.wait()
                    self._due.clear()
                    batches = self._collect()
                    if batches:
                        await self._deliver(batches)
        finally:
            await self._pipe.close()
            for batch in [*batches, *self._stuck.values()]:
                for entry in batch.entries:
                    entry.fail(unavailable())
            self._stuck.clear()
            self._queues.end()

    async def drain(self) -> None:
        """Wait until no ballot is queued. The deadlines of the ballots bound the wait."""
        while self.waiting:  # noqa: ASYNC110 - runs only during shutdown
            await asyncio.sleep(RETRY_SECONDS)

    def _collect(self) -> list[Batch]:
        batches = []
        self._give_up = None
        now = time.monotonic()
        deadline = self._clock.now() + int(DEADLINE_SECONDS * 1000)
        for partition, queue in self._queues.by_partition.items():
            if (stuck := self._stuck.get(partition)) is not None:
                if stuck.resting:
                    continue
                del self._stuck[partition]
                if now <= stuck.over:
                    batches.append(stuck)
                    if stuck.lost:
                        self._give_up = min(self._give_up or stuck.over, stuck.over)
                    if queue:
                        self._due.set()
                    continue
                self._not_taken(stuck, "no answer in time")
            entries: list[QueuedBallot] = []
            while queue and len(entries) < LARGEST_BATCH:
                entry = queue.popleft()
                if now - entry.queued_at > DEADLINE_SECONDS:
                    self._queues.waiting -= 1
                    self._queues.refuse(entry, unavailable())
                else:
                    entries.append(entry)
            if entries and (batch := self._batch(partition, entries, deadline)) is not None:
                self.counts.sizes[len(batch.entries)] += 1
                batches.append(batch)
            if queue:
                self._due.set()
        return batches

    def _batch(self, partition: int, entries: list[QueuedBallot], deadline: int) -> Batch | None:
        """A batch of the ballots that can be encoded. The others are answered with ``INTERNAL``."""
        try:
            return Batch(partition, entries, deadline, self._keys)
        except Exception as error:  # a single ballot may be the cause
            _log.error("batch cannot be encoded", error=type(error).__name__)
        sound = []
        for entry in entries:
            try:
                Batch(partition, [entry], deadline, self._keys)
                sound.append(entry)
            except Exception as error:
                _log.error("ballot cannot be encoded", poll=entry.ballot.poll_id, error=type(error).__name__)
                self._queues.waiting -= 1
                self._queues.refuse(entry, PollroomError("INTERNAL"))
        return Batch(partition, sound, deadline, self._keys) if sound else None

    async def _deliver(self, batches: list[Batch]) -> None:
        asked, failed = time.monotonic(), False
        try:
            if self._give_up is None:
                replies = await self._call(batches)
            else:
                async with asyncio.timeout(self._give_up + MARGIN_SECONDS - asked):
                    replies = await self._call(batches)
        except (*SILENT, *REFUSED) as error:
            replies, failed = [error] * len(batches), True
        again = [
            batch
            for batch, reply in zip(batches, replies, strict=True)
            if not await self._take(batch, reply, asked)
        ]
        if not again:
            return
        self._stuck.update((batch.partition, batch) for batch in again)
        if failed:  # new ballots would fail, too
            await asyncio.sleep(RETRY_SECONDS)
            self._due.set()
        else:
            for batch in again:
                batch.resting = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake, again)

    def _wake(self, batches: list[Batch]) -> None:
        for batch in batches:
            batch.resting = False
        self._due.set()

    async def _call(self, batches: list[Batch]) -> Sequence[list[Any] | Exception]:
        fence = self._keys.fence(batches[0].partition)
        if "cast" not in self._scripts.digests:
            await self._scripts.load(fence)
        digest = self._scripts.digests["cast"]
        replies = await self._pipe.send(
            [
                batch.command(digest, self._keys, self._generations[batch.partition], self._publish)
                for batch in batches
            ]
        )
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await self._scripts.load(fence)
        return [reply if isinstance(reply, Exception) else _decode(reply) for reply in replies]

    async def _take(self, batch: Batch, reply: "list[Any] | Exception", asked: float) -> bool:
        """Answer the ballots of a batch. Returns false if the batch must be sent again."""
        if isinstance(reply, Exception):
            batch.lost = batch.lost or isinstance(reply, SILENT)
            if (batch.lost or isinstance(reply, NoScriptError)) and time.monotonic() <= batch.over:
                return False
            self._not_taken(batch, str(reply) or repr(reply))
            return True
        if reply[0] == "fenced":
            if reply[1]:
                self._generations[batch.partition] = reply[1]
            else:
                await self._try_to_verify(batch.partition)
            return False
        self._clock.heard(reply[1], asked)
        if reply[0] == "late":
            self._not_taken(batch, "late")
            return True
        now, queues = reply[1], self._queues
        self.counts.answered(reply[2])
        waiting: dict[str, tuple[bool, list[QueuedBallot]]] = {}
        for entry, answer in zip(batch.entries, reply[2], strict=True):
            word = answer[0]
            if word == "leased" or word == "absent":
                waiting.setdefault(entry.ballot.poll_id, (word == "absent", []))[1].append(entry)
                continue
            queues.waiting -= 1
            ballot, future = entry.ballot, entry.future
            if future.done():
                continue
            if word == "ok":
                future.set_result(Receipt(ballot.id, ballot.poll_id, ballot.choices, answer[1], now, False))
            elif word == "again":
                choices = tuple(answer[3])
                future.set_result(Receipt(ballot.id, ballot.poll_id, choices, answer[1], answer[2], True))
            else:
                queues.refuse(entry, _refusal(word), batch.over if batch.lost else 0.0)
        for poll_id, (absent, entries) in waiting.items():
            if batch.lost:
                for entry in entries:
                    entry.copy_may_run_until = batch.over
            load = self._load if absent else None
            queues.park(batch.partition, poll_id, entries)
            self._tasks.create_task(queues.unpark(batch.partition, poll_id, load))
        return True

    async def _try_to_verify(self, partition: int) -> None:
        try:
            await self._verify(partition)
        except Exception as error:
            _log.warning("partition not verified", partition=partition, error=repr(error)[:200])

    def _not_taken(self, batch: Batch, why: str) -> None:
        _log.warning("ballots not accepted", error=why[:200], ballots=len(batch.entries))
        error = unavailable()
        for entry in batch.entries:
            self._queues.waiting -= 1
            self._queues.refuse(entry, error)


def _refusal(code: str) -> PollroomError:
    """The only field that the script checks is the ballot id of a verifiable poll."""
    return short_ballot_id() if code == "VALIDATION_FAILED" else PollroomError(code)
