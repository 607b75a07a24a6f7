"""Readiness whose probes do not end."""

import asyncio
from contextlib import suppress

import pytest

from app.services import health
from app.services.health import Readiness
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio


async def ok() -> str:
    return "ok"


async def test_a_probe_that_cannot_be_cancelled_is_reported_and_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(health, "PROBE_INTERVAL_SECONDS", 0.01)
    go_on = asyncio.Event()
    begun = 0
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(health._log, "error", lambda event, **fields: logged.append((event, fields["check"])))

    async def hangs() -> None:
        nonlocal begun
        begun += 1
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    readiness = Readiness({"redis": ok, "sql": ok}, {}, {"sql": hangs}, lambda: False, {})
    watching = asyncio.create_task(readiness.watch())

    async def status() -> str:
        return str((await readiness.report())[1]["status"])

    await eventually(status, lambda found: found == "degraded")
    await eventually(lambda: _value(logged), bool)
    assert logged == [("dependency away", "sql")]
    assert begun == 1, "one at a time"
    go_on.set()
    await eventually(status, lambda found: found == "ready")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _value(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return found
