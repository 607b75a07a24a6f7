"""Ballots that arrive together go to Redis together: one script call a partition, all due partitions in one pipeline.

One pipeline is under way at a time, so arrival order is kept; alone, a ballot waits for nothing. A batch without an answer
is sent again unchanged, before anything later of its partition; the others do not wait for it. Its deadline stands in it,
by Redis ``TIME``: past that the script writes nothing, and only then ``UNAVAILABLE`` goes out, so that a late execution
never overtakes what a client did next.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from redis.exceptions import NoScriptError

from app.adapters.redis.batch import DEADLINE_SECONDS, Batch, Counts, Entry, fail
from app.adapters.redis.client import REFUSED, SILENT
from app.adapters.redis.clock import RedisClock
from app.adapters.redis.keys import Keys
from app.adapters.redis.pipe import Pipe
from app.adapters.redis.scripts import Scripts
from app.modules.vote.types import Ballot, Receipt
from app.utils import logger
from app.utils.errors import PollroomError, unavailable

LARGEST_BATCH = 256
RETRY_SECONDS = 0.05
MARGIN_SECONDS = 0.01
"""So much later than the end of a batch an answer is given up: the batch is then over beyond doubt."""
FINAL = ("POLL_CLOSED", "BALLOT_ID_REUSED")
"""Refusals that every later copy of a ballot meets, too."""
HELD_SECONDS = 0.01

Load = Callable[[str], Awaitable[Callable[[Ballot], Awaitable[Receipt]] | None]]
"""Brings an absent poll into Redis; or gives who answers its ballots instead."""

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
        """``generations``: partition -> the generation in force, kept current by the ledger. ``limit``: ballots that wait."""
        self._scripts = scripts
        self._pipe = pipe
        self._keys = keys
        self._clock = clock
        self._generations = generations
        self._limit = limit
        self._publish = publish
        self._queues: dict[int, deque[Entry]] = {}
        # By partition, at most one each: to be sent again.
        self._stuck: dict[int, Batch] = {}
        self._give_up: float | None = None
        self._parked: dict[str, deque[Entry]] = {}
        self._delayed: set[Entry] = set()
        self._due = asyncio.Event()
        # Asked for once: CPython 3.11 makes a system call each time.
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        self.counts = counts
        self._load: Load
        self._verify: Callable[[int], Awaitable[None]]
        self._tasks: asyncio.TaskGroup

    def cast(self, ballot: Ballot) -> "asyncio.Future[Receipt]":
        if self.waiting >= self._limit:
            self.counts.refused["UNAVAILABLE"] += 1
            raise unavailable()
        future: asyncio.Future[Receipt] = self._loop.create_future()
        entry = (ballot, future, time.monotonic(), 0.0)
        self.waiting += 1
        parked = self._parked.get(ballot.poll_id)
        if parked is not None:
            parked.append(entry)
            return future
        partition = self._keys.route(ballot.poll_id).partition
        queue = self._queues.get(partition)
        if queue is None:
            queue = self._queues[partition] = deque()
        queue.append(entry)
        self._due.set()
        return future

    async def run(self, load: Load, verify: Callable[[int], Awaitable[None]]) -> None:
        """Until cancelled. ``load`` brings an absent poll into Redis.

        ``verify`` has a partition verified whose fence does not hold, and does not wait for it: all others would.
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
            under_way = [batch.entries for batch in [*batches, *self._stuck.values()]]
            for queue in [*under_way, *self._queues.values(), *self._parked.values(), self._delayed]:
                for entry in queue:
                    fail(entry, unavailable())

    async def drain(self) -> None:
        """Wait until nothing waits any more; bounded by the ballots' own deadlines."""
        while self.waiting:  # noqa: ASYNC110 - only on the way down, when nothing is in a hurry
            await asyncio.sleep(RETRY_SECONDS)

    def _collect(self) -> list[Batch]:
        batches = []
        self._give_up = None
        now = time.monotonic()
        deadline = self._clock.now() + int(DEADLINE_SECONDS * 1000)
        for partition, queue in self._queues.items():
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
            entries: list[Entry] = []
            while queue and len(entries) < LARGEST_BATCH:
                entry = queue.popleft()
                if now - entry[2] > DEADLINE_SECONDS:
                    self.waiting -= 1
                    self._refuse(entry, unavailable())
                else:
                    entries.append(entry)
            if entries:
                self.counts.sizes[len(entries)] += 1
                batches.append(Batch(partition, entries, deadline, self._keys))
            if queue:
                self._due.set()
        return batches

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
        if failed:  # what comes meanwhile would fare no better
            await asyncio.sleep(RETRY_SECONDS)
            self._due.set()
        else:
            for batch in again:
                batch.resting = True
            self._loop.call_later(RETRY_SECONDS, self._wake, again)

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
        """Hand out what Redis answered; false where the batch must be sent again."""
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
        now = reply[1]
        self.counts.answered(reply[2])
        waiting: dict[str, tuple[bool, list[Entry]]] = {}
        for entry, answer in zip(batch.entries, reply[2], strict=True):
            word = answer[0]
            if word == "held" or word == "absent":
                waiting.setdefault(entry[0].poll_id, (word == "absent", []))[1].append(entry)
                continue
            self.waiting -= 1
            ballot, future, _, _ = entry
            if future.done():
                continue
            if word == "ok":
                future.set_result(Receipt(ballot.id, ballot.poll_id, ballot.choices, answer[1], now, False))
            elif word == "again":
                choices = tuple(answer[3])
                future.set_result(Receipt(ballot.id, ballot.poll_id, choices, answer[1], answer[2], True))
            else:
                self._refuse(entry, PollroomError(word), batch.over if batch.lost else 0.0)
        for poll_id, (absent, entries) in waiting.items():
            if batch.lost:
                entries = [(ballot, future, since, batch.over) for ballot, future, since, _ in entries]
            self._park(batch.partition, poll_id, entries, absent=absent)
        return True

    def _refuse(self, entry: Entry, error: PollroomError, over: float = 0.0) -> None:
        """A refusal is not remembered: it goes out only when no lost copy of the ballot can be taken any more."""
        self.counts.refused[error.code] += 1
        wait = max(entry[3], over) - time.monotonic()
        if wait <= 0 or error.code in FINAL:
            fail(entry, error)
        else:
            self._delayed.add(entry)
            self._loop.call_later(wait, self._answer_late, entry, error)

    def _answer_late(self, entry: Entry, error: PollroomError) -> None:
        self._delayed.discard(entry)
        fail(entry, error)

    async def _try_to_verify(self, partition: int) -> None:
        try:
            await self._verify(partition)
        except Exception as error:
            _log.warning("a partition is not verified yet", partition=partition, error=repr(error)[:200])

    def _not_taken(self, batch: Batch, why: str) -> None:
        _log.warning("ballots not taken", error=why[:200], ballots=len(batch.entries))
        error = unavailable()
        for entry in batch.entries:
            self.waiting -= 1
            self._refuse(entry, error)

    def _park(self, partition: int, poll_id: str, entries: list[Entry], *, absent: bool) -> None:
        """Let ballots wait for their poll, and everything later for that poll behind them."""
        queue = self._queues[partition]
        later = [entry for entry in queue if entry[0].poll_id == poll_id]
        if later:
            kept = [entry for entry in queue if entry[0].poll_id != poll_id]
            queue.clear()
            queue.extend(kept)
        self._parked[poll_id] = deque([*entries, *later])
        self._tasks.create_task(self._unpark(partition, poll_id, absent))

    async def _unpark(self, partition: int, poll_id: str, absent: bool) -> None:
        answer, error = None, None
        try:
            if absent:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    answer = await self._load(poll_id)
            else:
                await asyncio.sleep(HELD_SECONDS)
        except PollroomError as refused:
            error = refused
        except Exception as failed:
            _log.warning("poll not loaded", poll=poll_id, error=repr(failed)[:200])
            error = unavailable()
        parked = self._parked[poll_id]
        while parked and (answer or error):
            entry = parked.popleft()
            self.waiting -= 1
            if answer is None:
                self._refuse(entry, error or unavailable())
                continue
            try:
                receipt = await answer(entry[0])
                self.counts.repeated += 1
                if not entry[1].done():
                    entry[1].set_result(receipt)
            except PollroomError as refused:
                self.counts.refused[refused.code] += 1
                fail(entry, refused)
            except Exception as failed:
                _log.warning("a ballot was not answered", poll=poll_id, error=repr(failed)[:200])
                self.counts.refused["UNAVAILABLE"] += 1
                fail(entry, unavailable())
        del self._parked[poll_id]
        self._queues[partition].extendleft(reversed(parked))
        self._due.set()
