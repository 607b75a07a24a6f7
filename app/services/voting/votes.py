"""Votes and tallies, for every transport alike."""

from asyncio import Future
from collections.abc import Sequence

from ...domain.ballots import Ballot, Receipt, Snapshot
from ...domain.errors import PollroomError, none_found
from ...domain.users import Identity
from ...domain.values import is_id, new_id
from ...ports.ledger import Ledger
from ..accounts.budgets import Budgets
from ..polls.poll_reader import PollReader


class Votes:
    def __init__(self, ledger: Ledger, reader: PollReader, budgets: Budgets) -> None:
        self._ledger = ledger
        self._budgets = budgets
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
            Ballot(
                poll_id,
                user.id,
                "proven" if user.proven else user.guest,
                ballot_id or new_id(),
                retract,
                choices,
            )
        )

    async def look(self, identity: Identity | None, poll_id: str) -> Snapshot:
        """The poll as this reader may see it."""
        voter_id = identity.user.id if identity else None
        snapshot = self._reader.snapshot(await self._reader.read(poll_id, voter_id), voter_id)
        return await self._reader.with_answers(snapshot, voter_id)

    async def find(self, identity: Identity | None, code: str, client: str | None) -> str:
        """The id of the poll with this join code, without regard to case.

        Only codes of nothing cost ``client`` a call of its budget. Once that is spent, no code is looked up for it.
        """
        found, _ = await self._find(identity, code, client, decks=False)
        return found

    async def find_any(self, identity: Identity | None, code: str, client: str | None) -> tuple[bool, str]:
        """Whether the code is a deck's, and the id of the poll or deck."""
        found, deck = await self._find(identity, code, client)
        return deck, found

    async def find_deck(self, code: str, client: str | None) -> str:
        found, _ = await self._find(None, code, client, polls=False)
        return found

    async def _find(
        self,
        identity: Identity | None,
        code: str,
        client: str | None,
        *,
        polls: bool = True,
        decks: bool = True,
    ) -> tuple[str, bool]:
        self._budgets.check("code_miss", client)
        if polls:
            with none_found():
                return await self._reader.poll_id(code, identity.user.id if identity else None), False
        if decks:
            with none_found():
                return await self._reader.deck_id(code), True
        await self._budgets.take("code_miss", client)
        raise PollroomError("NOT_FOUND")
