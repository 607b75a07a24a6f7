"""How the workers go on: until they are cancelled, and after a failure not at once."""

import asyncio
import time
from collections.abc import Set
from typing import Final

BACKOFF_SECONDS: Final = (0.05, 5.0)


def backoff(failures: int) -> float:
    """Seconds, after so many failures in a row."""
    least, most = BACKOFF_SECONDS
    return min(most, least * float(2 ** min(failures - 1, 10)))


class Resting:
    """Partitions that fail, each in its own time. True where there are any."""

    def __init__(self) -> None:
        # How often in a row, and until when (monotonic).
        self._failed: dict[int, tuple[int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._failed)

    def until(self, partition: int) -> float:
        """Monotonic; 0 where it does not fail."""
        return self._failed.get(partition, (0, 0.0))[1]

    def failed(self, partition: int) -> None:
        failures = self._failed.get(partition, (0, 0.0))[0] + 1
        self._failed[partition] = (failures, time.monotonic() + backoff(failures))

    def worked(self, partition: int) -> None:
        self._failed.pop(partition, None)

    def keep(self, partitions: Set[int]) -> None:
        """Forget all others."""
        self._failed = {p: rest for p, rest in self._failed.items() if p in partitions}


def wanted() -> bool:
    """False once this task was cancelled.

    A loop must ask: redis-py sends within ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that comes
    as the send ends.
    """
    task = asyncio.current_task()
    return task is None or not task.cancelling()


def shown(error: BaseException) -> str:
    """The driver's own words where there are some."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"[:200]
