"""A short hostile run; ``scripts/hostile`` attacks for an hour."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.hostile.run import Report, hostile

pytestmark = pytest.mark.anyio

SECONDS = 120.0


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"statuses": {200: 1, 500: 2}}, "500"),
        ({"log": "Traceback (most recent call last)"}, "stack trace"),
        ({"log": '{"level": "error"}'}, "an error"),
        ({"stalls": 1}, "blocked"),
        ({"end_mib": 111.0}, "memory"),
        ({"statuses": {400: 1}}, "no request"),
    ],
)
def test_each_fault_is_named(fault: dict[str, Any], named: str) -> None:
    held = Report("a", 1, statuses={200: 1, 503: 1}, warm_mib=100.0, end_mib=109.0)
    assert held.failures == []
    (failure,) = replace(held, **fault).failures
    assert named in failure


@pytest.mark.hostile
@pytest.mark.timeout(SECONDS + 180)
async def test_a_server_under_attack_holds(tmp_path: Path) -> None:
    report = await hostile(tmp_path / "server", SECONDS, "pollroom")
    assert not report.failures, f"{report}\n{report.log[-4000:]}"
