"""The clock that all instances share: Redis ``TIME`` plus the monotonic time since.

The clock of the host is never read, so a wrong host clock does not change when polls close.
"""

import time

_FRESH_SECONDS = 30.0


class RedisClock:
    def __init__(self) -> None:
        self._offset: float | None = None
        self._slack = 0.0
        self._since = 0.0

    def now(self) -> int:
        """Milliseconds since the epoch. Raises ``RuntimeError`` before the first reply from Redis."""
        if self._offset is None:
            raise RuntimeError("the clock has no answer of Redis yet")
        return int(time.monotonic() * 1000 + self._offset)

    def heard(self, redis_ms: int, asked: float) -> None:
        """Adjust to ``redis_ms``, the reply to a request sent at ``asked`` (monotonic seconds).

        The reply with the shortest round trip of the last 30 s is kept. Its error is at most half the round trip.
        """
        answered = time.monotonic()
        slack = answered - asked
        if self._offset is None or slack <= self._slack or answered - self._since > _FRESH_SECONDS:
            self._offset = redis_ms - (asked + answered) * 500
            self._slack, self._since = slack, answered
