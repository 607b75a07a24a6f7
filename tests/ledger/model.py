"""Ballots as the contract has them, in plain Python: what the ledger's scripts are compared with."""

from collections import Counter
from dataclasses import dataclass, field

from app.domain.ballots import Ballot, CurrentVote, Receipt
from app.domain.polls import Rules

LARGEST_PAST = 64


@dataclass(frozen=True)
class Taken:
    """The first answer to a ballot id."""

    id: str
    retract: bool
    choices: tuple[str, ...]
    seq: int
    at: int


@dataclass
class Past:
    """All that a voter did in a poll; the last one stands."""

    taken: list[Taken] = field(default_factory=list)
    accepted: bool = False

    @property
    def standing(self) -> CurrentVote | None:
        if not self.taken:
            return None
        last = self.taken[-1]
        return CurrentVote(last.id, last.choices, last.seq, last.at, self.accepted)


@dataclass
class Poll:
    rules: Rules
    seq: int
    opens: int
    closes: int
    opened: bool = False
    closed: int = 0
    deleted: bool = False
    past: dict[str, Past] = field(default_factory=dict)

    @classmethod
    def made(cls, rules: Rules, now: int) -> "Poll":
        poll = cls(rules, rules.seq + 1, rules.opens_at or 0, rules.closes_at or 0)
        poll.opened = not rules.draft and poll.opens <= now
        poll.settle(now)
        return poll

    @property
    def accepted(self) -> bool:
        return any(past.accepted for past in self.past.values())

    @property
    def voters(self) -> int:
        return sum(1 for past in self.past.values() if past.taken and past.taken[-1].choices)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(c for past in self.past.values() if past.taken for c in past.taken[-1].choices))

    def settle(self, now: int) -> None:
        """Open and close where it is time: one seq each."""
        if self.deleted or self.rules.draft or self.closed:
            return
        if not self.opened and self.opens <= now:
            self.opened = True
            self.seq += 1
        if self.opened and self.closes and self.closes <= now:
            self.closed = self.closes
            self.seq += 1

    def install(self, rules: Rules, now: int, *, times: bool) -> bool:
        """Whether new times came too late."""
        self.settle(now)
        late = bool(self.closed) and times
        if not self.closed:
            self.opens, self.closes = rules.opens_at or 0, rules.closes_at or 0
        self.rules = rules
        self.opened = self.opened or (not rules.draft and self.opens <= now)
        self.seq += 1
        self.settle(now)
        return late

    def close(self, now: int) -> str | None:
        if self.deleted:
            return "NOT_FOUND"
        self.settle(now)
        if self.closed:
            return None
        if not self.opened:
            return "POLL_NOT_OPEN"
        self.closes = self.closed = now
        self.seq += 1
        return None

    def delete(self) -> None:
        if not self.deleted:
            self.deleted = True
            self.seq += 1

    def cast(self, ballot: Ballot, now: int) -> Receipt | str:
        """The contract's order of checks."""
        rules, voter = self.rules, ballot.voter_id
        if self.deleted or (rules.draft and voter != rules.owner_id):
            return "NOT_FOUND"
        if ballot.guest and not rules.guests:
            return "FORBIDDEN"
        if ballot.guest and ballot.guest != "proven" and rules.guest_challenge:
            return "CHALLENGE_REQUIRED"
        if rules.verifiable and not ballot.retract and len(ballot.id) < 22:
            return "VALIDATION_FAILED"
        past = self.past.get(voter, Past())
        for first in past.taken:
            if first.id == ballot.id:
                if (first.retract, set(first.choices)) != (ballot.retract, set(ballot.choices)):
                    return "BALLOT_ID_REUSED"
                return Receipt(first.id, ballot.poll_id, first.choices, first.seq, first.at, True)
        if self.closed:
            return "POLL_CLOSED"
        if not self.opened:
            return "POLL_NOT_OPEN"
        if rules.paused:
            return "POLL_PAUSED"
        if not ballot.retract:
            if not set(ballot.choices) <= {option.id for option in rules.options}:
                return "INVALID_OPTION"
            if not rules.min_choices <= len(ballot.choices) <= rules.max_choices:
                return "INVALID_CHOICE_COUNT"
            if past.accepted and not rules.allow_change:
                return "ALREADY_VOTED"
        elif not rules.allow_change:
            return "CHANGE_NOT_ALLOWED"
        if len(past.taken) >= LARGEST_PAST:
            return "CHANGE_LIMIT"
        if not ballot.retract or (past.taken and past.taken[-1].choices):
            self.seq += 1
        past.taken.append(Taken(ballot.id, ballot.retract, ballot.choices, self.seq, now))
        past.accepted = past.accepted or not ballot.retract
        self.past[voter] = past
        return Receipt(ballot.id, ballot.poll_id, ballot.choices, self.seq, now, False)
