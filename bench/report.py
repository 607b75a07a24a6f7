"""Results, and how they are shown: lines of a table, and samples of who was measured beside whom."""

import statistics
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Line:
    """``bound``: the goal as a number; none where the value is only printed. ``better``: which side of it is good."""

    row: str
    what: str
    goal: str
    value: float
    unit: str
    bound: float | None = None
    better: Literal["low", "high"] = "low"

    @property
    def ratio(self) -> float | None:
        """Measured to goal: at most 1 is reached for "low", at least 1 for "high"."""
        return None if not self.bound else self.value / self.bound

    @property
    def reached(self) -> bool | None:
        if self.bound is None:
            return None
        return self.value <= self.bound if self.better == "low" else self.value >= self.bound


@dataclass
class Samples:
    """One row's measurements: who -> one value a round."""

    row: str
    title: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, who: str, value: float) -> None:
        self.values.setdefault(who, []).append(value)

    def median(self, who: str) -> float:
        return statistics.median(self.values[who])

    def __contains__(self, who: str) -> bool:
        return who in self.values


@dataclass
class Results:
    """``disturbed``: row -> the share of the cores that others used meanwhile."""

    lines: list[Line] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    disturbed: dict[str, float] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def new(self, row: str, title: str, unit: str) -> Samples:
        samples = Samples(row, title, unit)
        self.samples.append(samples)
        return samples

    def line(
        self,
        row: str,
        what: str,
        value: float,
        unit: str,
        goal: str = "printed",
        bound: float | None = None,
        better: Literal["low", "high"] = "low",
    ) -> None:
        self.lines.append(Line(row, what, goal, value, unit, bound, better))
        print(as_text(self.lines[-1]), flush=True)

    def note(self, row: str, text: str) -> None:
        """Preformatted text that belongs to a row."""
        self.notes.setdefault(row, []).append(text)
        print(text, flush=True)


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def as_text(line: Line) -> str:
    ratio = "" if line.ratio is None else f"ratio {line.ratio:.2f}"
    verdict = {None: "", True: "reached", False: "MISSED"}[line.reached]
    return f"{line.row:<14} {line.what:<62} {number(line.value):>9} {line.unit:<10} goal: {line.goal:<28} {ratio:<11} {verdict}"
