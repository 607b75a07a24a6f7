"""What clients did and what they were told, and what the stores hold in the end."""

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """``GIVEN_UP``: the last word was UNAVAILABLE, and the client went on to something else: it may count there or not at
    all. ``LOST``: some sending ended with its connection; its bytes may still reach Redis, so it may count there or later.
    ``GONE``: acknowledged, and lost with an emptied Redis as it was said beforehand.
    """

    OK = "ok"
    REFUSED = "refused"
    GIVEN_UP = "given up"
    LOST = "lost"
    GONE = "gone"


@dataclass(slots=True)
class Op:
    """One ballot (``choices`` empty for a retraction) of one voter, in the order in which they were made.

    ``seq`` and ``cast_at`` (milliseconds; 0 for retractions, whose answer has none) of the first answer.
    """

    id: str
    choices: tuple[str, ...]
    outcome: Outcome = Outcome.LOST
    seq: int = 0
    cast_at: int = 0
    code: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """One remembered ballot of a row in ``ballots``; those before the last come from ``earlier``."""

    id: str
    choices: tuple[str, ...]
    seq: int
    cast_at: int


@dataclass(frozen=True, slots=True)
class Row:
    poll: str
    voter: str
    n: int
    epoch: int
    past: tuple[Past, ...]


@dataclass(frozen=True)
class Tally:
    """As a client reads it. ``source``: who told it. ``counts`` without zeros."""

    poll: str
    source: str
    epoch: int
    seq: int
    voters: int
    counts: dict[str, int]


@dataclass
class Journal:
    """(poll, voter) -> ops. ``changes``: poll -> whether votes there may be changed."""

    ops: dict[tuple[str, str], list[Op]] = field(default_factory=dict)
    changes: dict[str, bool] = field(default_factory=dict)

    def of(self, poll: str, voter: str) -> list[Op]:
        return self.ops.setdefault((poll, voter), [])

    def count(self, outcome: Outcome) -> int:
        return sum(op.outcome is outcome for ops in self.ops.values() for op in ops)
