"""Work that is repeated for as long as a process runs."""

import asyncio
from collections.abc import Awaitable, Callable

from . import logger

_log = logger.get(__name__)


async def every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. A failure is logged and does not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except Exception as error:
            _log.warning(
                "a recurring task failed", task=getattr(act, "__name__", ""), error=repr(error)[:200]
            )
