"""Commits to the ballots of closed verifiable polls: reads them from SQL, stores their tree, then tells the ledger.

Every step can be repeated. A tree counts once its row in ``commitments`` is finished, under the lock of the poll's row; what a
process that died has left is removed by the next attempt. The first tree that is finished stays, and so does the first one
that the ledger knows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Set
from itertools import islice
from typing import Final

from ...domain import commitments as domain
from ...domain.commitments import Commitment
from ...domain.errors import PollroomError
from ...domain.polls import Rules
from ...domain.values import new_id
from ...ports.clock import Clock
from ...ports.database import Database
from ...ports.ledger import Ledger, PollStore, TryAgain
from ...repositories import ballots, polls
from ...repositories import commitments as model
from ...utils import logger
from ...utils.external_sort import ExternalSort
from .signing import NoteSigner

ROUND_SECONDS: Final = 0.5
POLLS: Final = 100
AT_ONCE: Final = 2
"""Polls that are committed to at the same time, so that a large one does not hold up all others."""
CHUNK: Final = 1000
"""Ballots per query."""
ROWS: Final = 8
"""Rows of a tree per statement: about 1 MB."""
REST_SECONDS: Final = (0.5, 60.0)
"""How long a poll that failed is left alone: twice as long after each failure."""
_HASH: Final = 32

_log = logger.get(__name__)


class CannotCommit(Exception):
    """The commitment of a poll cannot be made or published now. ``str()`` says why."""


class Committer:
    """``leased``: the partitions that this worker stores. Others are left to other workers, which only saves work."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        store: PollStore,
        clock: Clock,
        signer: NoteSigner,
        leased: Callable[[], Set[int]],
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._signer = signer
        self._leased = leased
        self._running: dict[str, asyncio.Task[None]] = {}
        # Failures in a row, and until when the poll rests (monotonic).
        self._resting: dict[str, tuple[int, float]] = {}

    async def run(self) -> None:
        """Until cancelled. What fails is tried again."""
        try:
            while True:
                try:
                    await self._round()
                except Exception as error:
                    _log.warning("commitments", error=repr(error)[:200])
                await asyncio.sleep(ROUND_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _round(self) -> None:
        due = await model.due(self._database, POLLS)
        self._resting = {poll_id: rest for poll_id, rest in self._resting.items() if poll_id in due}
        leased, now = self._leased(), time.monotonic()
        for poll_id in due:
            if self._store.partition(poll_id) not in leased or poll_id in self._running:
                continue
            if self._resting.get(poll_id, (0, 0.0))[1] > now:
                continue
            while len(self._running) >= AT_ONCE:
                await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            self._running[poll_id] = asyncio.create_task(self._attempt(poll_id))

    async def _attempt(self, poll_id: str) -> None:
        try:
            await self.commit(poll_id)
            self._resting.pop(poll_id, None)
        except Exception as error:
            failures = self._resting.get(poll_id, (0, 0.0))[0] + 1
            least, most = REST_SECONDS
            rest = min(most, least * 2.0 ** min(failures - 1, 10))
            self._resting[poll_id] = failures, time.monotonic() + rest
            expected = isinstance(error, PollroomError | TryAgain | CannotCommit)
            _log.warning(
                "no commitment yet",
                poll=poll_id,
                error=str(error) or repr(error),
                exc_info=None if expected else error,
            )
        finally:
            del self._running[poll_id]

    async def commit(self, poll_id: str) -> None:
        """Build the commitment of a closed poll unless SQL has it, and publish it."""
        stored = await model.find(self._database, poll_id) or await self._build(poll_id)
        if stored is not None:
            await self._publish(poll_id, stored.commitment)

    async def _publish(self, poll_id: str, commitment: Commitment) -> None:
        state = await self._ledger.publish_commitment(poll_id, commitment)
        if state is not None and state.commitment != commitment:
            raise CannotCommit("the ledger has published another commitment, which stays")
        if state is not None:
            # A Redis that loses the publication is noticed only once SQL has the seq that it raised.
            seqs = await ballots.seqs(self._database, [poll_id])
            if seqs.get(poll_id, 0) < state.seq:
                return
        await model.mark_published(self._database, poll_id, self._clock.now())

    async def _build(self, poll_id: str) -> model.Stored | None:
        """None if the poll was deleted. The commitment of another process, if that was first."""
        rules = await polls.find(self._database, poll_id)
        if rules is None or rules.deleted_at is not None:
            return None
        if await ballots.count_dead_letters(self._database, poll_id):
            raise CannotCommit("ballots of the poll are among the dead letters")
        await self._remove_rows(poll_id)
        build, asked = new_id(), _asked(rules)
        terms = domain.hash_terms(asked.question, asked.options)
        began = time.monotonic()
        roots: list[bytes] = []
        count, pending = 0, list[model.Row]()
        async for row in self._rows(poll_id, domain.leaf_prefix(poll_id, terms)):
            roots.append(domain.tree_root(row.nodes))
            count += len(row.nodes)
            pending.append(row)
            if len(pending) == ROWS:
                await model.insert_rows(self._database, poll_id, build, pending)
                pending = []
        number = len(roots)
        for level, rows in enumerate(domain.upper_rows(roots), 1):
            roots = [domain.tree_root(nodes) for nodes in rows]
            pending += [model.Row(level, position, nodes) for position, nodes in enumerate(rows)]
            number += len(rows)
        if pending:
            await model.insert_rows(self._database, poll_id, build, pending)
        commitment = Commitment(count, domain.tree_root(roots).hex())
        # For good: old checkpoints are checked with it after another key has replaced it.
        await model.keep_key(self._database, self._signer.verifier_key, self._clock.now())
        checkpoint = self._signer.sign(domain.checkpoint_text(poll_id, commitment))
        stored = model.Stored(poll_id, build, commitment, terms, asked, checkpoint, None)
        await self._check_published(poll_id, commitment)
        if not await self._finish(stored, number):
            await self._remove_rows(poll_id)
            found = await model.find(self._database, poll_id)
            if found is None:
                raise CannotCommit("another process has begun anew")
            return found
        _log.info("committed", poll=poll_id, ballots=count, seconds=round(time.monotonic() - began, 3))
        return stored

    async def _rows(self, poll_id: str, prefix: bytes) -> AsyncIterator[model.Row]:
        """The rows of leaves, in their order."""
        leaves = ExternalSort(_HASH)
        try:
            voter = ""
            while found := await model.standing_ballots(self._database, poll_id, voter, CHUNK):
                leaves.add([_record(prefix, ballot_id, choices) for _, ballot_id, choices in found])
                voter = found[-1][0]
            for position, records in enumerate(_chunked(iter(leaves))):
                lines = b"\n".join([record[_HASH:] for record in records]).decode()
                yield model.Row(0, position, [record[:_HASH] for record in records], f"{lines}\n")
        finally:
            leaves.close()

    async def _check_published(self, poll_id: str, commitment: Commitment) -> None:
        """SQL may have been restored from a backup that is older than what was published."""
        state = (await self._ledger.peek([poll_id])).get(poll_id)
        if state is not None and state.commitment not in (None, commitment):
            raise CannotCommit("the ballots in SQL are not those of the commitment that was published")

    async def _finish(self, stored: model.Stored, rows: int) -> bool:
        async with self._database.transaction() as q:
            rules = await polls.lock(q, stored.poll_id)
            if rules is None or rules.deleted_at is not None:
                return False
            return await model.finish(q, stored, rows)

    async def _remove_rows(self, poll_id: str) -> None:
        """Rows of trees that were not finished."""
        while True:
            async with self._database.transaction() as q:
                await polls.lock(q, poll_id)
                stored = await model.find(q, poll_id)
                if not await model.remove_other_rows(q, poll_id, stored.build if stored else ""):
                    return


def _asked(rules: Rules) -> model.Asked:
    return model.Asked(rules.question, tuple((option.id, option.label) for option in rules.options))


def _record(prefix: bytes, ballot_id: str, choices: str) -> bytes:
    """A leaf and its line of CSV, without the line feed: leaves sort first."""
    id, options = ballot_id.encode(), sorted(choices.encode().split(b","))
    return domain.leaf(prefix, id, options) + id + b"," + b" ".join(options)


def _chunked(records: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(records, domain.ROW)):
        yield chunk
