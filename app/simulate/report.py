"""What a run found, as people read it and as JSON."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

SHOWN_POLLS: Final = 20


class Latency(Struct, rename="camel"):
    """Milliseconds; ``count`` measurements."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(seconds)
        last = len(ordered) - 1
        p50, p99, most = (round(ordered[round(share * last)] * 1000, 1) for share in (0.5, 0.99, 1.0))
        return cls(len(ordered), p50, p99, most)

    def __str__(self) -> str:
        return f"p50 {self.p50:,.1f} ms   p99 {self.p99:,.1f} ms   max {self.max:,.1f} ms"


class Outcome(Struct, rename="camel"):
    """One poll: option id -> votes, acknowledged and as ``results`` of each instance has them."""

    poll_id: str
    question: str
    acked: dict[str, int]
    tallies: dict[str, dict[str, int]]
    voters: int
    equal: bool


class Report(Struct, rename="camel"):
    """``ballots``: how many were cast. ``unknown``: those without any answer in time. ``failed``: voters that could not vote,
    by reason.

    ``unseen``: acknowledged, but in no tally that their voter got. ``up_to_date``: sockets whose last tally is the
    last one. ``resent``: messages sent again, by the reason. ``lost``: connections, by close code (1006: without one,
    0: given up as silent). ``absent``: from a lost connection until in the room again. ``broken``: rules of the
    contract. ``seconds``: of the whole run.
    """

    voters: int
    polls: int
    ballots: int
    instances: tuple[str, ...]
    acked: int
    repeated: int
    refused: dict[str, int]
    failed: dict[str, int]
    unknown: int
    unseen: int
    up_to_date: int
    resent: dict[str, int]
    lost: dict[str, int]
    broken: dict[str, int]
    ack: Latency
    visible: Latency
    absent: Latency
    results: list[Outcome]
    seconds: float
    equal: bool

    @property
    def ok(self) -> bool:
        """Every tally is what was acknowledged, every voter got its answer, and no rule was broken."""
        return self.equal and not (self.unknown or self.unseen or self.failed or self.broken)

    def lines(self) -> Iterator[str]:
        refused = sum(self.refused.values())
        yield (
            f"{self.acked:,} of {self.ballots:,} votes acknowledged, {refused:,} refused{_listed(self.refused)}, "
            f"{self.unknown:,} not known"
        )
        yield f"acknowledged after  {self.ack}"
        if self.visible.count:
            yield f"visible after       {self.visible}"
        yield f"{self.up_to_date:,} of {self.voters:,} sockets show the last tally"
        if self.lost:
            yield f"{sum(self.lost.values()):,} connections lost{_listed(self.lost)}, back after  {self.absent}"
        if self.resent:
            yield f"sent again{_listed(self.resent)}, {self.repeated:,} answered as repeated"
        if self.unseen:
            yield f"{self.unseen:,} acknowledged votes were not seen in a tally"
        if self.failed:
            yield f"{sum(self.failed.values()):,} voters gave up{_listed(self.failed)}"
        if self.broken:
            yield f"RULES BROKEN{_listed(self.broken)}"
        shown = [each for each in self.results if not each.equal] or self.results
        for each in shown[:SHOWN_POLLS]:
            word = "equal" if each.equal else f"NOT EQUAL, acked {each.acked}, tallies {each.tallies}"
            yield f"{each.poll_id}  acked {sum(each.acked.values()):,}  tally {each.voters:,}  {word}"
        if len(shown) > SHOWN_POLLS:
            yield f"… {len(shown) - SHOWN_POLLS:,} more"
        yield f"tally = acked: {'equal' if self.equal else 'NOT EQUAL'}"


def _listed(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{name}: {n:,}' for name, n in sorted(counts.items()))})" if counts else ""
