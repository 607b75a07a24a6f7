"""One clock for all instances: Redis ``TIME`` plus monotonic time since.

The host's own clock is never read: a process whose clock is wrong closes polls at the same moment as the others.
"""

import time

_FRESH_SECONDS = 30.0


class RedisClock:
    def __init__(self) -> None:
        self._offset: float | None = None
        self._slack = 0.0
        self._since = 0.0

    def now(self) -> int:
        """Milliseconds since the epoch. ``RuntimeError`` before the first answer of Redis."""
        if self._offset is None:
            raise RuntimeError("the clock has no answer of Redis yet")
        return int(time.monotonic() * 1000 + self._offset)

    def heard(self, redis_ms: int, asked: float) -> None:
        """Redis said ``redis_ms`` in answer to a question asked at ``asked`` (monotonic seconds).

        The answer with the shortest way in the last 30 s is kept: its error is at most half that way.
        """
        answered = time.monotonic()
        slack = answered - asked
        if self._offset is None or slack <= self._slack or answered - self._since > _FRESH_SECONDS:
            self._offset = redis_ms - (asked + answered) * 500
            self._slack, self._since = slack, answered
