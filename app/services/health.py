"""Can this process do its work now, and what does an acknowledgement mean here?"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

Check = Callable[[], Awaitable[str]]
"""Returns a detail, raises where the thing is away."""

PATIENCE_SECONDS = 1.0
RESUBSCRIBE_SECONDS = 2.0
"""After an outage of Redis all instances are deaf together until they have subscribed anew: none is better off outside."""


class Readiness:
    """What is away of ``needed`` makes the process ``degraded`` (votes get ``UNAVAILABLE``, it stays in the balancer).

    One of them is ``redis``: without it every instance is deaf, and none is better off outside the balancer.
    Votes do without what is ``beside``: it is shown, and changes no status.
    """

    def __init__(self, needed: dict[str, Check], beside: dict[str, Check], deaf: Callable[[], bool]) -> None:
        self._needed = needed
        self._checks = needed | beside
        self._deaf = deaf
        self._redis_away = -RESUBSCRIBE_SECONDS
        self.draining = False
        self.acknowledged = "unknown"

    async def report(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status, and ``{status, acknowledged, checks}`` of the contract."""
        results = await asyncio.gather(*map(_ask, self._checks.values()))
        checks = {
            name: {"status": "ok" if ok else "away", "detail": detail}
            for name, (ok, detail) in zip(self._checks, results, strict=True)
        }
        all_there = all(checks[name]["status"] == "ok" for name in self._needed)
        if checks["redis"]["status"] == "away":
            self._redis_away = time.monotonic()
        deaf = self._deaf()
        checks["pubsub"] = {"status": "deaf" if deaf else "ok", "detail": "messages between instances"}
        status: Literal["draining", "degraded", "deaf", "ready"] = "ready"
        if self.draining:
            status = "draining"
        elif deaf and time.monotonic() - self._redis_away > RESUBSCRIBE_SECONDS:
            status = "deaf"
        elif deaf or not all_there:
            status = "degraded"
        code = 200 if status in ("ready", "degraded") else 503
        return code, {"status": status, "acknowledged": self.acknowledged, "checks": checks}


async def _ask(check: Check) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return True, await check()
    except Exception as error:
        return False, str(error) or type(error).__name__
