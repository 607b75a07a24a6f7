"""Results as a table for spreadsheets."""

import csv
import io

from msgspec import UNSET

from ..domain.ballots import Snapshot
from ..domain.errors import PollroomError

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection): an apostrophe makes it text."""


def results_csv(seen: Snapshot) -> bytes:
    """``optionId,label,votes``, one row an option. ``FORBIDDEN`` where the reader may not see the counts."""
    if seen.tally.counts is UNSET:
        raise PollroomError("FORBIDDEN", "The results of this poll are hidden.")
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("optionId", "label", "votes"))
    for option in seen.poll.options:
        table.writerow((_cell(option.id), _cell(option.label), seen.tally.counts[option.id]))
    return text.getvalue().encode()


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value
