"""Ballots, receipts and tallies: what the ledger takes and gives."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from .commitments import Commitment
from .log_position import LogPosition
from .polls import PollView, Status
from .values import Camel, rfc3339


class Ballot(Struct, array_like=True, frozen=True):
    """One sending of a ballot. ``choices`` are option ids; ``retract`` takes the current choices back.

    ``guest``: false for an account, "proven" for a guest who solved a challenge, true for any other guest.
    """

    poll_id: str
    voter_id: str
    guest: bool | Literal["proven"]
    id: str
    retract: bool
    choices: tuple[str, ...]


class Receipt(Struct, frozen=True):
    """The ledger's first answer to a ballot; ``repeated`` where it was known. ``cast_at`` in milliseconds.

    ``choices`` in the order first sent, empty for a retraction.
    """

    id: str
    poll_id: str
    choices: tuple[str, ...]
    seq: int
    cast_at: int
    repeated: bool


class CurrentVote(Struct, frozen=True):
    """What a voter has in a poll now. ``choices`` is empty after a retraction; ``accepted``: a vote was ever taken."""

    id: str
    choices: tuple[str, ...]
    seq: int
    cast_at: int
    accepted: bool


class PollState(Struct, frozen=True):
    """Everything that the ledger owns of a poll, at one moment. Times in milliseconds, 0 for none.

    ``closed``: when it was closed. ``counts``: option id -> n; options without votes may be absent.
    ``commitment``: as it was published, none before.
    """

    poll_id: str
    now: int
    epoch: int
    seq: int
    version: int
    owner_id: str
    opens: int
    closes: int
    opened: bool
    closed: int
    deleted: bool
    draft: bool
    accepted: bool
    voters: int
    counts: dict[str, int] = field(default_factory=dict)
    commitment: Commitment | None = None

    @property
    def order(self) -> tuple[int, int]:
        return (self.epoch, self.seq)

    @property
    def next_moment(self) -> int | None:
        """When it opens or closes by itself."""
        if self.closed or self.draft:
            return None
        return (self.closes or None) if self.opened else self.opens

    @property
    def status(self) -> Status:
        if self.closed:
            return "closed"
        if self.draft:
            return "draft"
        return "open" if self.opened else "scheduled"


class Lease(Struct, frozen=True):
    """A lease on a poll. ``state`` is ``None`` if the ledger does not hold the poll."""

    poll_id: str
    token: str
    now: int
    state: PollState | None


def option_ids(choices: str) -> list[str]:
    """The options in a ``BallotRow.choices``."""
    return choices.split(",") if choices else []


class BallotRow(Struct, frozen=True):
    """A ballot as a row of ``ballots``. ``n``: how many ids this voter used so far; the higher one wins.

    ``choices``: option ids joined by commas, empty after a retraction. ``earlier``: JSON list of the first answers of
    earlier ids, ``[id, retract, option ids, seq, castAt]`` each.
    """

    poll_id: str
    voter_id: str
    n: int
    ballot_id: str
    choices: str
    seq: int
    epoch: int
    cast_at: int
    accepted: bool
    earlier: str

    @property
    def option_ids(self) -> list[str]:
        return option_ids(self.choices)


class LoadedBallots(Struct, frozen=True):
    """``counts``: votes by option ID, and voters as ``VOTERS``. ``accepted``: whether any vote was ever accepted."""

    counts: dict[str, int]
    accepted: bool


class PollChange(Struct, frozen=True):
    """An edit, opening, closing or deletion from the vote log. ``at`` and the others in milliseconds, 0 for none."""

    kind: Literal["edit", "open", "close", "delete"]
    poll_id: str
    seq: int
    at: int


class Undecodable(Struct, frozen=True):
    """``poll_id``: empty if unknown."""

    poll_id: str
    reason: str


LogContent = BallotRow | PollChange | Undecodable


class LogEntry(Struct, frozen=True):
    """One entry of the vote log. ``payload``: its bytes as the log has them, for dead letters."""

    id: LogPosition
    payload: bytes
    content: LogContent


class Tally(Camel):
    """``counts`` is left out where its reader may not see it."""

    epoch: int
    seq: int
    voters: int
    final: bool
    counts: dict[str, int] | UnsetType = UNSET


class YourVote(Camel):
    id: str
    option_ids: tuple[str, ...]
    seq: int
    cast_at: str

    @classmethod
    def of(cls, vote: CurrentVote | None) -> "YourVote | None":
        """What the voter has in the poll; none after a retraction."""
        if vote is None or not vote.choices:
            return None
        return cls(vote.id, vote.choices, vote.seq, rfc3339(vote.cast_at))


class Snapshot(Struct, frozen=True):
    """A poll as one reader may see it at one moment."""

    poll: PollView
    tally: Tally
    your_vote: YourVote | None


class VoteAccepted(Camel):
    id: str
    poll_id: str
    option_ids: tuple[str, ...]
    seq: int
    cast_at: str
    repeated: bool


class VoteRetracted(Camel):
    id: str
    poll_id: str
    seq: int
    repeated: bool
