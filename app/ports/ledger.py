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
        """The poll now (opened and closed first where due), and what the voter has in it. Loads an absent poll."""

    async def peek(self, poll_ids: Sequence[str]) -> dict[str, PollState]:
        """The states of those polls that the ledger holds, without loading."""

    async def accepted(self, poll_id: str, voter_ids: Sequence[str]) -> set[str]:
        """Those of the voters who ever had a vote accepted in the poll."""

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
        """Count the poll's ballots anew; none where the ledger does not hold the poll."""

    async def delete(self, poll_id: str) -> PollState: ...

    async def publish_commitment(self, poll_id: str, commitment: Commitment) -> PollState | None:
        """Make the commitment of a closed poll known, unless the poll has one, which then is in the state and stays.

        None where the ledger does not hold the poll: it is loaded with the commitment that SQL has.
        """


class TryAgain(Exception):
    """The ledger cannot say now (leased to another, not verified, no answer): leave the transaction, wait, begin anew."""


class FenceState(Protocol):
    """``run``: the server's run id now; ``verified``: the one that the fence names, none without a fence."""

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
        """False where the server was restarted since ``inspect`` saw ``run``."""

    async def remove(self, partition: int, generation: int) -> bool:
        """Stop everything in the partition until it is verified again; false if its fence is of another generation."""

    async def trusted(self) -> bool:
        """Whether a restart of this server loses nothing that was acknowledged."""

    async def rewrite_aof(self, partition: int) -> None:
        """Returns once nothing of a batch that was cut off can come back with a later restart. ``UNAVAILABLE`` if not soon."""


class PollStore(Protocol):
    """The ledger as a whole: what it holds, and taking polls out of it."""

    def polls(self, partition: int | None = None) -> AsyncIterator[list[str]]: ...

    async def seqs(self, poll_ids: Sequence[str]) -> dict[str, int]: ...

    async def endings(self, poll_ids: Sequence[str]) -> list[PollChange]:
        """The closings and deletions of these polls, with the polls' seqs."""

    async def drop(self, poll_id: str, seq: int) -> bool:
        """Remove a poll whose seq is below this one; never while votes are taken in its partition."""

    async def unload(self, poll_id: str, generation: int, last_id: LogPosition, idle_seconds: int) -> bool:
        """Let go of a poll that nobody asked for so long, and of which SQL (at ``last_id``) has everything."""

    def ballots(self, poll_id: str, epoch: int) -> AsyncIterator[list[BallotRow]]:
        """All ballots of a poll as SQL rows, in chunks."""

    def partition(self, poll_id: str) -> int: ...
