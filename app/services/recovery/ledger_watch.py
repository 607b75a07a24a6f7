"""Renews the record of the Redis in use, and notices within seconds when SQL and Redis no longer fit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...domain.errors import PollroomError
from ...domain.values import new_id
from ...ports.database import Database
from ...ports.ledger import Fences
from ...repositories import ballots, ledger_partitions
from ...utils import logger
from ..vote_log.recorder import READER
from .ownership import LedgerMismatch, Ownership
from .partition_verifier import holds

INTERVAL_SECONDS = 2.0
VERIFY_SECONDS = 0.5
"""A verification goes on in the background. Waiting for it would delay the renewal of other partitions."""

_log = logger.get(__name__)


class LedgerWatch:
    """``verify`` verifies a partition that takes no votes, also one that nobody votes in.

    ``problem``: why votes of some partitions are not accepted, or ``None``.
    """

    def __init__(
        self,
        database: Database,
        fences: Fences,
        ownership: Ownership,
        verify: Callable[[int], Awaitable[None]],
    ) -> None:
        self._database = database
        self._fences = fences
        self._ownership = ownership
        self._verify = verify
        self.problem: str | None = None

    async def run(self) -> None:
        """Run until cancelled. An outage of Redis or SQL is not a problem of the ledger: others report it."""
        while True:
            with suppress(PollroomError):
                self._note(await self._look())
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _look(self) -> str | None:
        held: dict[int, str] = {}
        problems: dict[int, str] = {}
        for offset in await ballots.offsets(self._database, READER):
            partition = offset.partition
            try:
                fence = await self._fences.inspect(partition)
            except PollroomError:
                continue  # a cluster without one of its nodes keeps the others
            try:
                if holds(fence, offset):
                    await self._ownership.check(fence)
                    held[partition] = fence.run
                else:
                    async with asyncio.timeout(VERIFY_SECONDS):
                        await self._verify(partition)
            except LedgerMismatch as error:
                problems[partition] = str(error)
            except (PollroomError, TimeoutError):
                problems[partition] = "not verified yet"
        await ledger_partitions.renew(self._database, held, new_id())
        if not problems:
            return None
        return f"partitions {', '.join(map(str, problems))}: {'; '.join(dict.fromkeys(problems.values()))}"

    def _note(self, problem: str | None) -> None:
        if problem and not self.problem:
            _log.error("votes are not accepted", reason=problem)
        elif self.problem and not problem:
            _log.warning("votes are accepted again")
        self.problem = problem
