"""Whether the stores hold what clients were told: nothing lost, nothing twice, and a tally that is a recount."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tools.faults.journal import Journal, Op, Outcome, Past, Row, Tally


@dataclass
class Verdict:
    """``lost``, ``doubled``, ``drifted``: what was found wrong, a sentence each. ``wrong``: everything else."""

    acknowledged: int = 0
    unknown: int = 0
    gone: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.drifted or self.wrong)

    @property
    def findings(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.drifted, *self.wrong]

    def add(self, other: "Verdict") -> None:
        self.acknowledged += other.acknowledged
        self.unknown += other.unknown
        self.gone += other.gone
        self.lost += other.lost
        self.doubled += other.doubled
        self.drifted += other.drifted
        self.wrong += other.wrong

    def __str__(self) -> str:
        word = "OK" if self.ok else "FAILED"
        gone = f", {self.gone} gone with Redis as foretold" if self.gone else ""
        return (
            f"{word}: {self.acknowledged} acknowledged, {self.unknown} unknown{gone}; {len(self.lost)} lost,"
            f" {len(self.doubled)} doubled, {len(self.drifted)} drifted, {len(self.wrong)} otherwise wrong"
        )


def check(journal: Journal, rows: Sequence[Row], tallies: Iterable[Tally]) -> Verdict:
    """``rows``: all of the polls in the journal, the log drained. ``tallies``: of each poll, by whoever shows them."""
    verdict = Verdict(
        acknowledged=journal.count(Outcome.OK) + journal.count(Outcome.GONE),
        unknown=journal.count(Outcome.GIVEN_UP) + journal.count(Outcome.LOST),
        gone=journal.count(Outcome.GONE),
    )
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        if (row.poll, row.voter) in found:
            verdict.doubled.append(f"{row.poll} {row.voter}: two rows")
        found[row.poll, row.voter] = row
    for key in journal.ops.keys() | found.keys():
        _history(verdict, key, journal.ops.get(key, []), found.get(key), journal.changes.get(key[0], True))
    _seqs(verdict, rows)
    _counts(verdict, rows, tallies)
    return verdict


def _history(
    verdict: Verdict, key: tuple[str, str], ops: Sequence[Op], row: Row | None, changes: bool
) -> None:
    """The row's past is the acknowledged ops in their order, with unknown ones among them once or not at all."""
    where = f"{key[0]} {key[1]}"
    past = row.past if row is not None else ()
    made = {op.id: (position, op) for position, op in enumerate(ops)}
    times = Counter(one.id for one in past)
    for id, n in times.items():
        if n > 1:
            verdict.doubled.append(f"{where}: {id} is there {n} times")
    for op in ops:
        if op.outcome is Outcome.OK and op.id not in times:
            verdict.lost.append(f"{where}: {op.id} was acknowledged (seq {op.seq}) and is not there")
    strict = -1
    for one in past:
        if one.id not in made:
            verdict.wrong.append(f"{where}: {one.id} was never sent")
            continue
        position, op = made[one.id]
        if op.outcome in (Outcome.REFUSED, Outcome.GONE):
            verdict.wrong.append(f"{where}: {op.id} is there, but was {op.code or op.outcome.value}")
        elif op.outcome is not Outcome.LOST or position > strict:
            if position < strict:
                verdict.wrong.append(f"{where}: {op.id} came after a later one")
            strict = max(strict, position)
        _same(verdict, where, op, one)
    if row is not None and row.n != len(past):
        verdict.wrong.append(f"{where}: n is {row.n}, and {len(past)} ballots are remembered")
    if not changes and len(past) > 1:
        verdict.doubled.append(f"{where}: {len(past)} ballots where none may be changed")
    told = any(op.code == "ALREADY_VOTED" for op in ops)
    if told and not past and not any(op.outcome is Outcome.GONE for op in ops):
        verdict.lost.append(f"{where}: was told ALREADY_VOTED and has no ballot")


def _same(verdict: Verdict, where: str, op: Op, one: Past) -> None:
    if sorted(op.choices) != sorted(one.choices):
        verdict.wrong.append(f"{where}: {op.id} chose {op.choices}, stored are {one.choices}")
    if op.outcome is Outcome.OK and (op.seq != one.seq or (op.cast_at and op.cast_at != one.cast_at)):
        verdict.wrong.append(
            f"{where}: {op.id} was answered with seq {op.seq} at {op.cast_at}, stored are {one.seq} at {one.cast_at}"
        )


def _seqs(verdict: Verdict, rows: Sequence[Row]) -> None:
    """No two ballots of a poll share an (epoch, seq). The past of a row tells its epoch only where there was but one."""
    epochs: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        epochs[row.poll].add(row.epoch)
    taken: dict[tuple[str, int, int], str] = {}
    for row in rows:
        standing: tuple[str, ...] = ()
        for position, one in enumerate(row.past):
            nothing = not standing and not one.choices
            standing = one.choices
            last = position == len(row.past) - 1
            if nothing or not (last or len(epochs[row.poll]) == 1):
                continue
            name = f"{row.voter}/{one.id}"
            other = taken.setdefault((row.poll, row.epoch, one.seq), name)
            if other != name:
                verdict.doubled.append(f"{row.poll}: {other} and {name} share seq {one.seq} of {row.epoch}")


def _counts(verdict: Verdict, rows: Sequence[Row], tallies: Iterable[Tally]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    voters: Counter[str] = Counter()
    for row in rows:
        if row.past and row.past[-1].choices:
            counts[row.poll].update(row.past[-1].choices)
            voters[row.poll] += 1
    for tally in tallies:
        if tally.counts != dict(counts[tally.poll]) or tally.voters != voters[tally.poll]:
            verdict.drifted.append(
                f"{tally.poll}: {tally.source} shows {tally.voters} voters and {tally.counts},"
                f" the rows say {voters[tally.poll]} and {dict(counts[tally.poll])}"
            )
