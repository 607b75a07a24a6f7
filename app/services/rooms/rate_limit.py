"""How many messages a connection may send."""

import time
from typing import Final

REFUSED_IN_A_ROW: Final = 100


class TokenBucket:
    """``rate`` messages per second, with bursts of twice that; 0 means no limit."""

    __slots__ = ("_at", "_left", "_refused", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left = 2 * rate
        self._at = time.monotonic()
        self._refused = 0

    def take(self) -> float:
        """Spend one message. Returns 0, or the seconds to wait if that exceeds the limit."""
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

    def charge(self, messages: int) -> None:
        """Spend more for a message that costs as much as ``messages`` others. The bucket may go into debt."""
        self._left -= messages

    @property
    def ignored(self) -> bool:
        """Whether the client went on sending through ``REFUSED_IN_A_ROW`` refusals."""
        return self._refused >= REFUSED_IN_A_ROW
