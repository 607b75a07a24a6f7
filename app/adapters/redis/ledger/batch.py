"""A batch of ballots of one partition, and the command that sends it. Every retry sends the same ballots."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ....domain.ballots import Ballot, Receipt
from ..connection.keys import Keys, bulk

DEADLINE_SECONDS = 3.0
SETTLED_SECONDS = 0.25
"""Added to the deadline, because our estimate of Redis ``TIME`` is not exact."""

_encode = msgspec.msgpack.Encoder().encode


class QueuedBallot(msgspec.Struct, eq=False):
    """Times in monotonic seconds. ``copy_may_run_until``: 0 if no copy of it was lost."""

    ballot: Ballot
    future: "asyncio.Future[Receipt]"
    queued_at: float
    copy_may_run_until: float = 0.0

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Counts:
    """Metrics of ballots in this process. ``sizes`` maps a batch size to a number of batches."""

    def __init__(self) -> None:
        self.accepted = self.repeated = 0
        self.refused: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()

    def answered(self, answers: Sequence[Sequence[Any]]) -> None:
        """Count accepted and repeated ballots of a batch. Refusals are counted when they are answered."""
        words = [answer[0] for answer in answers]
        self.accepted += words.count("ok")
        self.repeated += words.count("again")


class Batch:
    """``sent``: monotonic seconds. ``lost``: a reply was lost, so a copy may still run. ``resting``: waiting for its retry."""

    def __init__(self, partition: int, entries: list[QueuedBallot], deadline_ms: int, keys: Keys) -> None:
        """``deadline_ms``: Redis ``TIME`` after which the script writes nothing."""
        self.partition = partition
        self.entries = entries
        self.sent = time.monotonic()
        self.lost = self.resting = False
        self._deadline = deadline_ms
        ballots = [entry.ballot for entry in entries]
        polls = list(dict.fromkeys([ballot.poll_id for ballot in ballots]))
        self._keys = b"".join([keys.route(poll_id).packed for poll_id in polls])
        self._number_of_keys = 2 + 3 * len(polls)
        self._body = _encode((polls, ballots))

    @property
    def over(self) -> float:
        """Monotonic time after which no copy of the batch can run."""
        return self.sent + DEADLINE_SECONDS + SETTLED_SECONDS

    def command(self, digest: str, keys: Keys, generation: int, publish: str) -> bytes:
        number = self._number_of_keys
        fence, log = keys.fence(self.partition), keys.log(self.partition, generation)
        head = ("EVALSHA", digest, str(number), fence, log)
        tail = (str(generation), publish, str(self._deadline))
        return b"".join(
            (
                b"*%d\r\n" % (number + 7),
                *(bulk(word.encode()) for word in head),
                self._keys,
                *(bulk(word.encode()) for word in tail),
                bulk(self._body),
            )
        )
