"""Results as a table for spreadsheets."""

import csv
import io

from msgspec import UNSET

from ..domain.ballots import Snapshot
from ..domain.errors import PollroomError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""Spreadsheets run a cell that begins so as a formula (OWASP, CSV injection). An apostrophe makes it text."""


def results_csv(seen: Snapshot, *, excel: bool) -> bytes:
    """``optionId,label,votes``, one row per option. ``FORBIDDEN`` if the reader may not see the counts.

    ``excel``: with a byte order mark, by which Excel knows UTF-8, and CRLF.
    """
    if seen.tally.counts is UNSET:
        raise PollroomError("FORBIDDEN", "The results of this poll are hidden.")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n" if excel else "\n")
    table.writerow(("optionId", "label", "votes"))
    for option in seen.poll.options:
        table.writerow((_cell(option.id), _cell(option.label), seen.tally.counts[option.id]))
    return text.getvalue().encode("utf-8-sig" if excel else "utf-8")


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value
