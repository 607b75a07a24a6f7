"""Whether this Redis belongs to this database, and whether it may replace the Redis that the database was used with.

SQL and every fence in Redis hold the ID of their deployment. While the fence of a partition is valid, ``serve`` and ``worker``
renew a record in SQL every two seconds. A Redis without data may be an emptied one, which recovers from SQL, or the wrong one
beside a healthy one. It is the wrong one if anybody still renews.
"""

import time

from ...domain.errors import PollroomError, unavailable
from ...domain.layout import LAYOUT
from ...ports.database import Database
from ...ports.ledger import FenceState
from ...repositories import ledger_partitions as model

SILENCE_SECONDS = 10.0
"""Five missed renewals."""


class LedgerMismatch(PollroomError):
    """This Redis is not what this database was last compared with, and this process may not decide which one is right."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "UNAVAILABLE",
            f"this Redis does not hold what this database expects: {why}. Nothing was overwritten",
        )


class Ownership:
    """``silence_seconds``: how long nobody may have renewed a partition before another Redis replaces its data."""

    def __init__(self, database: Database, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._database = database
        self._silence = silence_seconds
        # Partition -> the last renewal seen, and since when.
        self._seen: dict[int, tuple[str, float]] = {}

    async def check(self, fence: FenceState) -> str:
        """Return the ID of the deployment. Raises ``LedgerMismatch`` if the fence is of another one, or of a later version."""
        ours = await model.identity(self._database)
        if max(ours.layout, fence.layout) > LAYOUT:
            raise LedgerMismatch(
                "a later version of Pollroom has used one of them; start that version or a newer one"
            )
        if fence.ledger not in (None, ours.id):
            raise LedgerMismatch(
                "it belongs to another deployment; check REDIS_URL and DATABASE_URL, or use an empty Redis"
            )
        return ours.id

    async def may_replace(self, partition: int, run: str) -> None:
        """Returns if the server ``run`` may take the partition over: it held it last, or nobody has renewed it for long.

        Raises ``LedgerMismatch`` if somebody renews it, and ``UNAVAILABLE`` while that is not known. Call again then.
        """
        found = await model.renewal(self._database, partition)
        if found is not None and found.run == run:
            return
        renewal, now = found.renewal if found else "", time.monotonic()
        known = self._seen.get(partition)
        if known is None or known[0] != renewal:
            self._seen[partition] = (renewal, now)
        if known is not None and known[0] != renewal:
            raise LedgerMismatch(
                "other processes use this database with another Redis; stop this process or those, and check REDIS_URL"
            )
        if now - self._seen[partition][1] < self._silence:
            reason = (
                f"this Redis lacks data; waiting {self._silence:g} s to see whether another Redis is in use"
            )
            raise unavailable() from OSError(reason)

    def settled(self, partition: int) -> None:
        """Forget what was seen: the partition is verified."""
        self._seen.pop(partition, None)
