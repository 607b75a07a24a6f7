"""How long the event loop was blocked, as a histogram."""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Final

INTERVAL_SECONDS: Final = 0.05
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LoopLag:
    """``counts``: measurements per bucket, the last one beyond all bounds. ``total`` and ``longest`` in seconds.

    On Linux, time that the thread waited for a processor is not counted: that is the machine's load, not a blocked loop.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0
        self.longest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waited = _run_queue_reader()
        self._waited_before = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waited_before = self._waited()
        self._schedule()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._due = self._loop.time() + INTERVAL_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        late = self._loop.time() - self._due
        waited = self._waited()
        lag = max(0.0, late - (waited - self._waited_before))
        self._waited_before = waited
        self._schedule()
        self.counts[bisect_left(BUCKETS, lag)] += 1
        self.total += lag
        self.longest = max(self.longest, lag)


def _run_queue_reader() -> Callable[[], float]:
    """Seconds that this thread has waited for a processor since it began."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def read() -> float:
        try:
            return int(path.read_bytes().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    return read
