"""Long-lived tasks: restarted when they end by themselves, and reported until they run again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from . import logger

RESTART_SECONDS: Final = (0.05, 5.0)
"""Shortest and longest pause before a restart; it doubles with each failure in a row."""
STEADY_SECONDS: Final = 1.0
"""A task that has run for this long after a restart counts as healthy again."""

_log = logger.get(__name__)


class Supervisor:
    """Runs tasks that must not end. ``failing`` maps the name of each task that ended to its error, until it is healthy."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}

    @asynccontextmanager
    async def running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Run ``work()`` until the context ends, and call it again after any other end. ``work`` must allow that."""
        task = asyncio.create_task(self._supervise(name, work), name=f"supervisor of {name}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.failing.pop(name, None)

    async def _supervise(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            error = await self._run(name, work)
            failures = 1 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            shortest, longest = RESTART_SECONDS
            pause = min(longest, shortest * 2.0 ** min(failures - 1, 10))
            self.failing[name] = repr(error)[:200] if error else "ended without an error"
            _log.error("task ended", task=name, error=self.failing[name], restart_in=pause, exc_info=error)
            await asyncio.sleep(pause)

    async def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
        """How one run ended by itself; None without an error.

        Each run is a new task: before Python 3.13, ``TaskGroup`` leaves a task marked as cancelled when a child fails.
        """
        healthy = asyncio.get_running_loop().call_later(STEADY_SECONDS, self.failing.pop, name, None)
        run = asyncio.create_task(work(), name=name)
        try:
            await asyncio.wait([run])
        finally:
            healthy.cancel()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        return asyncio.CancelledError() if run.cancelled() else run.exception()
