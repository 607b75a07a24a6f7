"""A batch: ballots of one partition as they were first sent, and the command that sends them, again unchanged."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ....domain.ballots import Ballot, Receipt
from ..connection.keys import Keys
from ..connection.pipe import bulk

Entry = tuple[Ballot, "asyncio.Future[Receipt]", float, float]
"""A ballot that waits, who waits for it, since when, and until when a lost copy of it may still be executed (0: none is).

Monotonic seconds.
"""

DEADLINE_SECONDS = 3.0
SETTLED_SECONDS = 0.25
"""Beyond the deadline, for the difference between our estimate of Redis ``TIME`` and ``TIME`` itself."""

_encode = msgspec.msgpack.Encoder().encode


def fail(entry: Entry, error: BaseException) -> None:
    if not entry[1].done():
        entry[1].set_exception(error)


class Counts:
    """What became of ballots in this process, for operators. ``sizes``: ballots in a batch -> how many batches."""

    def __init__(self) -> None:
        self.accepted = self.repeated = 0
        self.refused: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()

    def answered(self, answers: Sequence[Sequence[Any]]) -> None:
        """What the script answered to a batch, but for refusals: their way is longer."""
        words = [answer[0] for answer in answers]
        self.accepted += words.count("ok")
        self.repeated += words.count("again")


class Batch:
    """``entries`` in their order; ``sent`` in monotonic seconds.

    ``lost``: Redis was silent once, a copy may still be executed. ``resting``: not to be sent again yet.
    """

    def __init__(self, partition: int, entries: list[Entry], deadline_ms: int, keys: Keys) -> None:
        """``deadline_ms`` by Redis ``TIME``: past it the script writes nothing."""
        self.partition = partition
        self.entries = entries
        self.sent = time.monotonic()
        self.lost = self.resting = False
        self._deadline = deadline_ms
        positions: dict[str, int] = {}
        packed = []
        ballots = []
        for ballot, _, _, _ in entries:
            poll_id = ballot.poll_id
            position = positions.get(poll_id)
            if position is None:
                position = positions[poll_id] = len(positions) + 1
                packed.append(keys.route(poll_id).packed)
            ballots.append(
                (position, ballot.voter_id, ballot.guest, ballot.id, ballot.retract, ballot.choices)
            )
        self._keys = b"".join(packed)
        self._number_of_keys = 2 + 3 * len(positions)
        self._body = _encode((list(positions), ballots))

    @property
    def over(self) -> float:
        """When nothing that was sent can be executed any more."""
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
