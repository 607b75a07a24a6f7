"""One task per key at a time: callers who come while it runs share its outcome."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from .shared_wait import outcome

Key = TypeVar("Key", bound=Hashable)
Outcome = TypeVar("Outcome")


class SingleFlight(Generic[Key, Outcome]):
    """A caller who is cancelled does not cancel the task: others may wait for it. A failure that nobody waits for any more
    is dropped without a trace in the log, so work whose failure matters logs it itself."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Outcome]] = {}

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        """The outcome of the key's running task, else of ``work()``, which is started as a task."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(lambda ended: self._end(key, ended))
        return await outcome(task)

    async def close(self, wait_seconds: float = 0.0) -> None:
        """Cancel what still runs after ``wait_seconds``, and wait until it has ended."""
        running = list(self._running.values())
        if running and wait_seconds:
            await asyncio.wait(running, timeout=wait_seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _end(self, key: Key, task: asyncio.Task[Outcome]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that is never retrieved
