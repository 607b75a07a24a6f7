"""The one clock of all instances."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the epoch by the one clock of all instances: Redis ``TIME`` plus monotonic time since."""
