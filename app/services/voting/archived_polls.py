"""Ballots for a closed poll that the ledger no longer holds: answered from SQL, which has everything of it."""

from collections.abc import Awaitable, Callable

import msgspec

from ...domain.ballots import Ballot, BallotRow, Receipt
from ...domain.commitments import SHORTEST_BALLOT_ID, short_ballot_id
from ...domain.errors import PollroomError, unavailable
from ...domain.poll_kinds import KINDS
from ...domain.poll_rules import guest_refusal
from ...domain.polls import Rules
from ...ports.database import Database
from ...repositories import ballots as votes
from ...repositories import polls
from ..polls.poll_loader import PollLoader

_earlier = msgspec.json.Decoder(list[tuple[str, bool, list[str], int, int]]).decode

Answer = Callable[[Ballot], Awaitable[Receipt]]


class ArchivedPolls:
    """What becomes of ballots whose poll the ledger does not hold."""

    def __init__(self, database: Database, editor: PollLoader) -> None:
        self._database = database
        self._editor = editor

    async def load(self, poll_id: str) -> Answer | None:
        """Load the poll; or, where it is closed, who answers its ballots instead: a late vote loads nothing."""
        rules = await polls.find(self._database, poll_id)
        if rules is None or rules.closed_at is None or rules.deleted_at is not None:
            await self._editor.load(poll_id)
            return None
        if await votes.count_dead_letters(self._database, poll_id):
            raise unavailable(5.0)
        closed = rules

        async def answer(ballot: Ballot) -> Receipt:
            row = await votes.find_ballot(self._database, poll_id, ballot.voter_id)
            return answer_closed(closed, ballot, row)

        return answer


def answer_closed(rules: Rules, ballot: Ballot, row: BallotRow | None) -> Receipt:
    """As the casting script would: first answers again, everything new is ``POLL_CLOSED``."""
    if refusal := guest_refusal(rules, ballot):
        raise PollroomError(refusal)
    if rules.verifiable and not ballot.retract and len(ballot.id) < SHORTEST_BALLOT_ID:
        raise short_ballot_id()
    for id, retract, choices, seq, at in _answers(row) if row else ():
        if id == ballot.id:
            if retract != ballot.retract or not KINDS[rules.kind].same(choices, ballot.choices):
                raise PollroomError("BALLOT_ID_REUSED")
            return Receipt(id, rules.id, tuple(choices), seq, at, True)
    raise PollroomError("POLL_CLOSED")


def _answers(row: BallotRow) -> list[tuple[str, bool, list[str], int, int]]:
    latest = row.option_ids
    return [*_earlier(row.earlier), (row.ballot_id, not latest, latest, row.seq, row.cast_at)]
