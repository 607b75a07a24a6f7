"""Waiting for a task that others wait for, too."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def outcome(shared: asyncio.Future[T]) -> T:
    """Its result, or its failure. A caller who is cancelled does not cancel it.

    From Python 3.14 on, ``asyncio.shield`` reports a failure that nobody waits for any more as an error.
    """
    await asyncio.wait([shared])
    return shared.result()
