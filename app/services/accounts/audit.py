"""Refused log-ins for the audit log, stored together every second: a flood of them costs one statement."""

import asyncio
from collections import deque
from typing import Final

from ...domain.errors import PollroomError
from ...ports.database import Database
from ...repositories import audit
from ...utils import logger

MAX_WAITING: Final = 10_000
"""Further ones are only counted."""
ROUND_SECONDS: Final = 1.0
CHUNK: Final = 500

log = logger.get(__name__)


class AuditQueue:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[audit.Entry] = deque()
        self.dropped = 0

    def put(self, entry: audit.Entry) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            if self.dropped % MAX_WAITING == 1:
                log.warning("audit entries dropped: SQL does not keep up", dropped=self.dropped)
        else:
            self._waiting.append(entry)

    async def run(self) -> None:
        """Until cancelled. What SQL does not take now is kept for the next round."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        while self._waiting:
            entries = [self._waiting.popleft() for _ in range(min(CHUNK, len(self._waiting)))]
            try:
                await audit.add(self._database, entries)
            except PollroomError as error:
                self._waiting.extendleft(reversed(entries))
                log.warning("audit entries not stored", error=str(error))
                return
