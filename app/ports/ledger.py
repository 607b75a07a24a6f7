"""Ballots, counts and the state of polls while they are live."""

from asyncio import Future
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ..domain.ballots import (
    Ballot,
    BallotRow,
    CurrentVote,
    Lease,
    LoadedBallots,
    PollChange,
    PollState,
    Receipt,
)
from ..domain.commitments import Commitment
from ..domain.log_position import LogPosition
from ..domain.polls import Rules


class Ledger(Protocol):
    """Ballots, counts, seq and closing. Every call raises ``UNAVAILABLE`` after a bounded wait."""

    def cast(self, ballot: Ballot) -> Future[Receipt]:
        """Queue a ballot at once, in calling order; the receipt comes when it is on disk.

        Raises the contract's codes, and ``UNAVAILABLE`` at once where too many wait.
        """

    async def read(self, poll_id: str, voter_id: str | None = None) -> tuple[PollState, CurrentVote | None]:
        """The poll's state, after any opening or closing that is due, and the voter's current vote. Loads an absent poll."""

    async def peek(self, poll_ids: Sequence[str]) -> dict[str, PollState]:
        """The states of the polls that the ledger holds. Loads nothing."""

    async def accepted(self, poll_id: str, voter_ids: Sequence[str]) -> set[str]:
        """Which of these voters ever had a vote accepted in the poll."""

    async def lease(self, poll_id: str) -> Lease:
        """Lease a poll for an edit or for loading: votes wait until ``install_rules`` or ``release``, at most 2.5 s.

        Raises ``TryAgain`` if it is leased to another caller.
        """

    async def load_ballots(self, lease: Lease, rules: Rules, rows: Sequence[BallotRow]) -> None:
        """Store a chunk of an absent poll's ballots, at most 2,000, and renew the lease. ``TryAgain`` if it was lost."""

    async def install_rules(
        self,
        lease: Lease,
        rules: Rules,
        *,
        new_times: bool = False,
        loaded: LoadedBallots | None = None,
        commitment: Commitment | None = None,
    ) -> tuple[PollState, bool]:
        """Install the rules and end the lease. Returns the state, and whether new times came too late: the poll had closed.

        ``commitment``: of an absent poll, as SQL has it. A poll that is held keeps its own.
        """

    async def release(self, lease: Lease) -> None: ...

    async def close(self, poll_id: str) -> PollState: ...

    async def recount(self, poll_id: str) -> PollState | None:
        """Recount the poll's ballots. Returns ``None`` if the ledger does not hold the poll."""

    async def delete(self, poll_id: str) -> PollState: ...

    async def publish_commitment(self, poll_id: str, commitment: Commitment) -> PollState | None:
        """Make the commitment of a closed poll known, unless the poll has one, which then is in the state and stays.

        None where the ledger does not hold the poll: it is loaded with the commitment that SQL has.
        """


class TryAgain(Exception):
    """The ledger cannot answer now: leased to another caller, not verified, or no reply. Leave the transaction, wait, retry."""


class FenceState(Protocol):
    """``run``: the server's current run ID. ``verified``: the run ID in the fence, none without a fence."""

    @property
    def run(self) -> str: ...

    @property
    def verified(self) -> str | None: ...

    @property
    def generation(self) -> int: ...

    @property
    def trimmed(self) -> LogPosition:
        """The last entry of this generation that was dropped from the log, ``NOTHING`` if none was."""

    @property
    def ledger(self) -> str | None:
        """ID of the deployment that wrote the fence; none without a fence, or if an earlier version wrote it."""

    @property
    def layout(self) -> int: ...


class Fences(Protocol):
    """Which server a partition's data was last compared with SQL on."""

    async def inspect(self, partition: int) -> FenceState: ...

    async def write(self, partition: int, run: str, generation: int, ledger: str) -> bool:
        """Write the fence. False if the server was restarted since ``inspect`` saw ``run``."""

    async def remove(self, partition: int, generation: int) -> bool:
        """Remove the fence: the partition accepts nothing until it is verified. False if the generation differs."""

    async def trusted(self) -> bool:
        """Whether a restart of this server loses nothing that was acknowledged."""

    async def rewrite_aof(self, partition: int) -> None:
        """Returns once nothing of a batch that was cut off can come back with a later restart. ``UNAVAILABLE`` if not soon."""


class PollStore(Protocol):
    """The ledger as a whole: lists the polls it holds, and removes them."""

    def polls(self, partition: int | None = None) -> AsyncIterator[list[str]]: ...

    async def seqs(self, poll_ids: Sequence[str]) -> dict[str, int]: ...

    async def endings(self, poll_ids: Sequence[str]) -> list[PollChange]:
        """The closings and deletions of these polls, with the polls' seqs."""

    async def drop(self, poll_id: str, seq: int) -> bool:
        """Remove a poll if its seq is below ``seq``. Never call it while the partition accepts votes."""

    async def unload(self, poll_id: str, generation: int, last_id: LogPosition, idle_seconds: int) -> bool:
        """Remove a poll that was idle for this long, if SQL (at ``last_id``) has everything of it."""

    def ballots(self, poll_id: str, epoch: int) -> AsyncIterator[list[BallotRow]]:
        """All ballots of a poll as SQL rows, in chunks."""

    def partition(self, poll_id: str) -> int: ...
