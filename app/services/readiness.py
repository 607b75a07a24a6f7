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
    """``away`` checks make the process ``degraded`` (votes get ``UNAVAILABLE``, it stays in the balancer).

    One of them is ``redis``: without it every instance is deaf, and none is better off outside the balancer.
    """

    def __init__(
        self, away: dict[str, Check], deaf: Callable[[], bool], notes: Callable[[], dict[str, str]]
    ) -> None:
        self._away = away
        self._deaf = deaf
        self._notes = notes
        self._redis_away = -RESUBSCRIBE_SECONDS
        self.draining = False
        self.acknowledged = "unknown"

    async def report(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status, and ``{status, acknowledged, checks}`` of the contract."""
        names = list(self._away)
        results = await asyncio.gather(*(_ask(self._away[name]) for name in names))
        checks = {
            name: {"status": "ok" if ok else "away", "detail": detail}
            for name, (ok, detail) in zip(names, results, strict=True)
        }
        all_there = all(ok for ok, _ in results)
        if checks["redis"]["status"] == "away":
            self._redis_away = time.monotonic()
        deaf = self._deaf()
        checks["pubsub"] = {"status": "deaf" if deaf else "ok", "detail": "messages between instances"}
        for name, detail in self._notes().items():
            checks[name] = {"status": "ok", "detail": detail}
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
