"""Bounded waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02
SOON = 2.0
"""Seconds to a moment that is waited for: what must be done before it (a call, a few joins) takes a slow machine long."""


async def eventually(
    probe: Callable[[], Awaitable[T]], condition: Callable[[T], bool], timeout: float = 5, what: str = ""
) -> T:
    """Probe until ``condition`` holds; the value that held. Fails after ``timeout`` seconds."""
    end = asyncio.get_running_loop().time() + timeout
    while True:
        value = await probe()
        if condition(value):
            return value
        assert asyncio.get_running_loop().time() < end, f"{what or 'condition'} not met; last: {value!r}"
        await asyncio.sleep(PAUSE)


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def now() -> datetime:
    return datetime.now(UTC)


def ahead(seconds: float) -> str:
    """The time ``seconds`` from now (negative: ago) as the contract writes it."""
    return rfc3339(now() + timedelta(seconds=seconds))
