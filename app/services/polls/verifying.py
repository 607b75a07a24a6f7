"""What anybody may read to check a verifiable poll: its commitment, its ballots, the proof that a ballot is among them."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Final

from ...domain.commitments import ROW, tree_path
from ...domain.errors import PollroomError, unavailable
from ...domain.polls import Rules
from ...domain.users import Identity
from ...domain.values import Camel
from ...domain.visibility import may_see_closed
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import commitments as model
from ...repositories import polls
from ..accounts.budgets import Budgets
from .signing import NoteSigner

_CSV_HEAD: Final = b"ballotId,optionIds\n"
_REBUILD_SECONDS: Final = 5.0


class AskedOption(Camel):
    id: str
    label: str


class CommitmentDocument(Camel):
    """Everything that the leaves of a poll commit to. `checkpoint` is a signed note."""

    size: int
    root: str
    fingerprint: str
    terms: str
    question: str
    options: list[AskedOption]
    checkpoint: str


class Proof(Camel):
    """`path`: hashes in hex, from the leaf up."""

    index: int
    size: int
    root: str
    path: list[str]


class PollroomKey(Camel):
    """Keys as signed notes have them. `older`: keys that signed before."""

    name: str
    key: str
    older: list[str]


class Verifying:
    """Reads SQL alone, apart from the state of the poll, and loads no poll into the ledger."""

    def __init__(self, database: Database, ledger: Ledger, signer: NoteSigner, budgets: Budgets) -> None:
        self._database = database
        self._ledger = ledger
        self._signer = signer
        self._budgets = budgets

    async def key(self) -> PollroomKey:
        current = self._signer.verifier_key
        older = [key for key in await model.keys(self._database) if key != current]
        return PollroomKey(self._signer.name, current, older)

    async def commitment(self, poll_id: str) -> CommitmentDocument:
        _, stored = await self._find(poll_id)
        found = stored.commitment
        return CommitmentDocument(
            found.size,
            found.root,
            found.fingerprint,
            stored.terms,
            stored.asked.question,
            [AskedOption(id, label) for id, label in stored.asked.options],
            stored.checkpoint,
        )

    async def ballots(self, identity: Identity | None, poll_id: str) -> AsyncIterator[bytes]:
        """CSV, a row of the tree at a time. ``FORBIDDEN`` where the reader may not see the counts."""
        rules, stored = await self._find(poll_id)
        if not may_see_closed(rules, owner=identity is not None and identity.user.id == rules.owner_id):
            raise PollroomError("FORBIDDEN", "The results of this poll are hidden.")
        yield _CSV_HEAD
        left = stored.commitment.size
        for position in count():
            if left <= 0:
                return
            lines = await model.ballots_of_row(self._database, stored.build, position)
            if lines is None:
                raise unavailable()  # the poll was deleted meanwhile
            yield lines.encode()
            left -= ROW

    async def proof(self, poll_id: str, leaf: str, client: str | None) -> Proof:
        """``leaf`` in hex. Of equal leaves, the first."""
        await self._budgets.take("proof", client)
        _, stored = await self._find(poll_id)
        found = await model.row_of_leaf(self._database, stored.build, leaf)
        wanted = bytes.fromhex(leaf)
        if found is None or wanted not in found[1]:
            raise PollroomError("NOT_FOUND", "No ballot of this poll has this leaf.")
        position, nodes = found
        index = nodes.index(wanted)
        path = tree_path(nodes, index)
        place, level, rows = position, 1, -(-stored.commitment.size // ROW)
        while rows > 1:
            row, within = divmod(place, ROW)
            above = await model.nodes(self._database, stored.build, level, row)
            if above is None:
                raise unavailable()
            path += tree_path(above, within)
            place, level, rows = row, level + 1, -(-rows // ROW)
        return Proof(
            position * ROW + index,
            stored.commitment.size,
            stored.commitment.root,
            [node.hex() for node in path],
        )

    async def _find(self, poll_id: str) -> tuple[Rules, model.Stored]:
        """``NOT_FOUND`` unless the commitment of the poll is published."""
        state = (await self._ledger.peek([poll_id])).get(poll_id)
        rules = await polls.find(self._database, poll_id)
        if rules is None or rules.deleted_at is not None or (state is not None and state.deleted):
            raise PollroomError("NOT_FOUND")
        stored = await model.find(self._database, poll_id)
        if state is None:
            # The ledger gets it with the poll.
            if stored is None or stored.published_at is None:
                raise PollroomError("NOT_FOUND")
        elif state.commitment is None:
            raise PollroomError("NOT_FOUND")
        elif stored is None or stored.commitment != state.commitment:
            raise unavailable(_REBUILD_SECONDS)  # SQL was restored from a backup
        return rules, stored
