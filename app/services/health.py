"""Whether this process can do its work now, and what an acknowledgement means here."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from ..domain.errors import PollroomError
from ..utils import logger

Check = Callable[[], Awaitable[str]]
"""Returns a detail. Raises if the dependency is away."""

Probe = Callable[[], Awaitable[None]]
"""Tries a write. Raises if it failed."""

CHECK_SECONDS = 1.0
PROBE_SECONDS = 5.0
PROBE_INTERVAL_SECONDS = 2.0
RESUBSCRIBE_SECONDS = 2.0
"""After an outage of Redis every instance is deaf until it has subscribed again. No instance is better than another."""

_log = logger.get(__name__)


class Readiness:
    """Checks run per report, probes in the background.

    If one of ``needed`` is away, the process is ``degraded``: votes or accounts get ``UNAVAILABLE``, and it stays in the
    load balancer. One of them is ``redis``. Checks of ``beside`` are shown and change no status.
    ``probes``: name of a check -> what must also have succeeded.
    """

    def __init__(
        self,
        needed: Mapping[str, Check],
        beside: Mapping[str, Check],
        probes: Mapping[str, Probe],
        deaf: Callable[[], bool],
        failing: Mapping[str, str],
    ) -> None:
        """``failing``: tasks of this process that ended and do not run again yet, with their errors."""
        self._needed = needed
        self._checks = {**needed, **beside}
        self._probes = probes
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, str] = {}
        self._away_since: dict[str, float] = {}
        self._deaf = deaf
        self._failing = failing
        self._redis_away = -RESUBSCRIBE_SECONDS
        self.draining = False
        self.acknowledged = "unknown"

    async def watch(self) -> None:
        """Until cancelled: run the probes, and log each outage once when it begins and once when it ends.

        A driver may not let go of a call that is cancelled. Such a probe counts as failed and is left to end by itself.
        """
        try:
            while True:
                for name in self._probes.keys() - self._probing.keys():
                    self._probing[name] = asyncio.create_task(self._probe(name))
                if self._probing:
                    await asyncio.wait(self._probing.values(), timeout=2 * PROBE_SECONDS)
                for name, task in list(self._probing.items()):
                    if task.done():
                        del self._probing[name]
                    else:
                        self._failures[name] = "a write does not end"
                self._log_changes(await self._results())
                await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        finally:
            for task in self._probing.values():
                task.cancel()

    async def report(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status, and ``{status, acknowledged, checks}`` of the contract."""
        results = await self._results()
        checks = {
            name: {"status": "ok" if ok else "away", "detail": detail}
            for name, (ok, detail) in results.items()
        }
        all_there = all(results[name][0] for name in self._needed)
        if not results["redis"][0]:
            self._redis_away = time.monotonic()
        deaf = self._deaf()
        checks["pubsub"] = {"status": "deaf" if deaf else "ok", "detail": "messages between instances"}
        detail = "; ".join(f"{name}: {error}" for name, error in self._failing.items())
        checks["tasks"] = {"status": "failing" if detail else "ok", "detail": detail or "all tasks run"}
        status: Literal["draining", "failing", "degraded", "deaf", "ready"] = "ready"
        if self.draining:
            status = "draining"
        elif self._failing:
            status = "failing"
        elif deaf and time.monotonic() - self._redis_away > RESUBSCRIBE_SECONDS:
            status = "deaf"
        elif deaf or not all_there:
            status = "degraded"
        code = 200 if status in ("ready", "degraded") else 503
        return code, {"status": status, "acknowledged": self.acknowledged, "checks": checks}

    async def _results(self) -> dict[str, tuple[bool, str]]:
        found = await asyncio.gather(*map(_ask, self._checks.values()))
        results = dict(zip(self._checks, found, strict=True))
        for name, failure in self._failures.items():
            if results[name][0]:
                results[name] = (False, failure)
        return results

    async def _probe(self, name: str) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probes[name]()
        except Exception as error:
            self._failures[name] = _reason(error)
        else:
            self._failures.pop(name, None)

    def _log_changes(self, results: Mapping[str, tuple[bool, str]]) -> None:
        now = time.monotonic()
        for name, (ok, detail) in results.items():
            if not ok and name not in self._away_since:
                self._away_since[name] = now
                _log.error("dependency away", check=name, reason=detail)
            elif ok and name in self._away_since:
                _log.warning(
                    "dependency back", check=name, seconds=round(now - self._away_since.pop(name), 1)
                )


async def _ask(check: Check) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return True, await check()
    except Exception as error:
        return False, _reason(error)


def _reason(error: BaseException) -> str:
    """The server's own words where there are any: ``UNAVAILABLE`` itself is for clients."""
    while isinstance(error, PollroomError) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error.args[-1]) if error.args else ""
    return " ".join(text.split())[:300] or type(error).__name__
