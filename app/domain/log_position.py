"""Positions in a vote log: the ids of its entries, ``milliseconds-number``, which Redis gives."""

from typing import Final

NOTHING: Final = "0-0"
"""Before the first entry."""

BEGUN: Final = "0-1"
"""Offset of a log that was fenced once and has nothing stored: an emptied Redis is told from a new one by it."""


def entry_order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
