"""Votes and tallies, for every transport alike."""

from asyncio import Future
from collections.abc import Sequence

from app.modules.types import is_id, new_id
from app.modules.user.types import Identity
from app.modules.vote.types import Ballot, Receipt, Snapshot, YourVote
from app.ports import Ledger
from app.services.reading import Reader, Reading, may_see, tally
from app.utils.errors import PollroomError


class Votes:
    def __init__(self, ledger: Ledger, reader: Reader) -> None:
        self._ledger = ledger
        self._reader = reader

    def cast(
        self, identity: Identity, poll_id: str, ballot_id: str | None, choices: Sequence[str]
    ) -> Future[Receipt]:
        """Hand a ballot to the ledger, in calling order. Without ``ballot_id`` a repeat is another ballot."""
        return self._send(identity, poll_id, ballot_id, tuple(choices), retract=False)

    def retract(self, identity: Identity, poll_id: str, ballot_id: str | None) -> Future[Receipt]:
        return self._send(identity, poll_id, ballot_id, (), retract=True)

    def _send(
        self,
        identity: Identity,
        poll_id: str,
        ballot_id: str | None,
        choices: tuple[str, ...],
        *,
        retract: bool,
    ) -> Future[Receipt]:
        if not is_id(poll_id):
            raise PollroomError("NOT_FOUND")
        user = identity.user
        return self._ledger.cast(
            Ballot(poll_id, user.id, user.guest, ballot_id or new_id(), retract, choices)
        )

    async def look(self, identity: Identity | None, poll_id: str) -> Snapshot:
        """The poll as this reader may see it."""
        voter_id = identity.user.id if identity else None
        return snapshot(self._reader, await self._reader.read(poll_id, voter_id), voter_id)

    async def find(self, code: str) -> str:
        """The id of the poll with this join code, without regard to case."""
        return await self._reader.poll_id(code)


def snapshot(reader: Reader, reading: Reading, voter_id: str | None) -> Snapshot:
    rules, state, standing = reading.rules, reading.state, reading.standing
    voted = standing is not None and standing.accepted
    counts = may_see(rules, state, owner=voter_id == rules.owner_id, voted=voted)
    return Snapshot(reader.view(rules, state), tally(rules, state, counts=counts), YourVote.of(standing))
