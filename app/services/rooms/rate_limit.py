"""How much one connection may say."""

import time
from typing import Final

REFUSED_IN_A_ROW: Final = 100


class TokenBucket:
    """``rate`` messages a second, bursts of twice that; 0 for no limit."""

    __slots__ = ("_at", "_left", "_refused", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left = 2 * rate
        self._at = time.monotonic()
        self._refused = 0

    def take(self) -> float:
        """Spend one message; 0, or the seconds to wait where it is one too many."""
        rate = self.rate
        if not rate:
            return 0.0
        now = time.monotonic()
        self._left = min(2 * rate, self._left + (now - self._at) * rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            self._refused = 0
            return 0.0
        self._refused += 1
        return max(round((1 - self._left) / rate, 3), 0.001)

    @property
    def ignored(self) -> bool:
        """Whether the refusals of so many messages in a row made no difference."""
        return self._refused >= REFUSED_IN_A_ROW
