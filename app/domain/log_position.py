"""Positions in a vote log: IDs of entries, which Redis assigns as ``milliseconds-number``."""

from typing import Final, NamedTuple


class LogPosition(NamedTuple):
    """Positions compare in the order of the log. ``str()`` is the ID."""

    milliseconds: int
    number: int

    @classmethod
    def parse(cls, entry_id: str) -> "LogPosition":
        milliseconds, _, number = entry_id.partition("-")
        return cls(int(milliseconds), int(number))

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


NOTHING: Final = LogPosition(0, 0)
"""Before the first entry."""

BEGUN: Final = LogPosition(0, 1)
"""Offset of a log that was fenced once and has nothing stored: an emptied Redis is told from a new one by it."""


class LogPlace(NamedTuple):
    """How far a reader has come: the log of which generation, and the last entry that it has."""

    generation: int
    last_id: LogPosition
