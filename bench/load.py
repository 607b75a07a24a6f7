"""The load generator (``load/load.c``) as the rows use it: a plan of connections and ballots, then runs."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Final

from bench import machine
from bench.process import Running, compiled

_SOURCE: Final = Path(__file__).parent / "load" / "load.c"
PARALLEL: Final = 64


class Plan:
    """Written to ``path``; a ballot's number goes into its id (``v0``, ``v1``, …)."""

    def __init__(
        self,
        path: Path,
        *,
        mode: str = "ws",
        upgrade: str = "/ws",
        answer: str = '{"type":"VOTE_ACCEPTED"',
        update: str = "",
    ) -> None:
        self.path = path
        self.ballots = 0
        self._file = path.open("wb")
        for kind, value in (("M", mode), ("P", upgrade), ("A", answer), ("U", update)):
            self._put(kind, value.encode())

    def connection(self, opening: Iterable[tuple[str, str]] = ()) -> None:
        """What follows belongs to it. ``opening``: what a message must hold before the next step is taken, and what is sent."""
        self._put("S", b"")
        for expect, payload in opening:
            self._put("O", expect.encode() + b"\0" + payload.encode())

    def ballot(self, payload: str) -> None:
        """``payload`` with ``v%d`` in the place of its id."""
        self._put("V", (payload % self.ballots).encode())
        self.ballots += 1

    def done(self) -> Path:
        self._file.close()
        return self.path

    def _put(self, kind: str, data: bytes) -> None:
        self._file.write(struct.pack("<cI", kind.encode(), len(data)) + data)


@dataclass(frozen=True)
class Outcome:
    """Times in milliseconds, ``seconds`` and ``cpu`` (of the load itself) in seconds. ``visible_*``: sending a ballot to
    the arrival of an update that includes it, over all pairs of ballot and connection (``shown`` of them)."""

    acks: int
    errors: int
    unanswered: int
    lost: int
    updates: int
    update_bytes: int
    seconds: float
    p50: float
    p99: float
    max: float
    shown: int
    visible_p50: float
    visible_p99: float
    visible_max: float
    cpu: float
    error: str

    @property
    def rate(self) -> float:
        return self.acks / self.seconds


class Load:
    """One load process on one server. Fails where a connection is lost or a ballot refused: a run must be clean."""

    def __init__(self, plan: Path, port: int, log: Path) -> None:
        self.process = Running(
            [compiled(_SOURCE), str(plan), str(port)], core=machine.OTHER_CORE, log=log, pipes=True
        )
        self.process.line()

    def open(self, parallel: int = PARALLEL) -> float:
        """Connect all and say the opening messages; how many seconds it took."""
        self.process.say(f"open {parallel}")
        answer = json.loads(self.process.line())
        if answer["lost"] or answer["error"]:
            raise RuntimeError(f"connections lost while opening: {answer}")
        return float(answer["seconds"])

    def run(
        self, seconds: float, ballots: int, in_flight: int = 1, rate: float = 0, *, refusals: bool = False
    ) -> Outcome:
        """At most ``ballots`` in at most ``seconds``; ``rate`` a second over all connections, 0 for as fast as answers come.

        ``refusals``: refused ballots are counted and allowed: more is asked than can be done.
        """
        self.process.say(f"run {seconds} {ballots} {in_flight} {rate}")
        answer = json.loads(self.process.line())
        outcome = Outcome(**{field.name: answer[field.name] for field in fields(Outcome)})
        if (outcome.errors and not refusals) or outcome.lost or outcome.unanswered:
            raise RuntimeError(f"not a clean run: {outcome}")
        return outcome

    def __enter__(self) -> "Load":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()
