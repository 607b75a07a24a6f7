"""What people see of a run: a progress bar and the tallies as bars on a terminal, a line now and then elsewhere."""

import shutil
import time
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from .hall import Ballots, Gate

WIDTH: Final = 40
LINE_SECONDS: Final = 2.0
FULL, EMPTY = "█", "·"


class Screen:
    """``stream``: drawn upon in place where it is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._drawn = 0
        self._label = ""
        self._gate: Gate | None = None
        self._written = (0.0, -1)

    def stage(self, label: str, gate: Gate) -> None:
        self._close_stage()
        self._label, self._gate = label, gate
        self._written = (time.monotonic(), -1)

    def draw(self, polls: Sequence[Ballots]) -> None:
        if self._gate is None:
            return
        if self._live:
            self._replace([self._progress(self._gate), *_bars(polls)])
            return
        at, through = self._written
        now = time.monotonic()
        if now - at >= LINE_SECONDS and through != self._gate.through:
            self._write_line()
            self._written = (now, self._gate.through)

    def end(self, polls: Sequence[Ballots]) -> None:
        self._close_stage()
        self.write(_bars(polls))

    def write(self, lines: Iterable[str]) -> None:
        """Lines that stay."""
        self._replace([])
        for line in lines:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def _close_stage(self) -> None:
        if self._gate is None:
            return
        if self._live:
            self.write([self._progress(self._gate)])
        elif self._written[1] != self._gate.through:
            self._write_line()
        self._gate = None

    def _write_line(self) -> None:
        if self._gate is not None:
            self.write([f"{self._label}: {self._gate.through:,} of {self._gate.number:,}"])

    def _progress(self, gate: Gate) -> str:
        return f"{self._label:<12} {_bar(gate.through, gate.number)} {gate.through:,} of {gate.number:,}"

    def _replace(self, lines: list[str]) -> None:
        """Draw over what was drawn last."""
        if not self._live:
            return
        columns = shutil.get_terminal_size().columns - 1
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(up + "\x1b[J" + "".join(f"{line[:columns]}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)


def _bars(polls: Sequence[Ballots]) -> list[str]:
    """As many polls as fit on the terminal; 24 lines where there is none."""
    each = 1 + max(len(poll.options) for poll in polls)
    fit = max(1, (shutil.get_terminal_size().lines - 3) // each)
    lines = []
    for poll in polls[:fit]:
        tally = poll.newest
        counts = (tally and tally.counts) or {}
        most = max(counts.values(), default=0)
        lines.append(f"{poll.question}  {tally.voters if tally else 0:,} votes")
        for option, label in poll.options.items():
            number = counts.get(option, 0)
            lines.append(f"  {label:<10} {_bar(number, most)} {number:,}")
    if len(polls) > fit:
        lines.append(f"… {len(polls) - fit:,} more")
    return lines


def _bar(part: int, whole: int) -> str:
    full = round(WIDTH * part / whole) if whole else 0
    return FULL * full + EMPTY * (WIDTH - full)
