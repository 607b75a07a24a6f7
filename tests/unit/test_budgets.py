"""Rates as settings, and what a process does by itself while Redis is away."""

import pytest

from app.domain.budgets import Rate, next_arrival, parse_rate
from app.domain.errors import PollroomError, unavailable
from app.services.accounts import budgets as module
from app.services.accounts.budgets import Budgets

pytestmark = pytest.mark.anyio


class Away:
    async def take(self, key: str, rate: Rate) -> float:
        raise unavailable()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s:500", Rate(0.01, 500)),
        ("100", Rate(0.01, 500)),
        ("10/m", Rate(6, 10)),
        ("30/h:5", Rate(120, 5)),
        ("0", Rate(0, 0)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "-1", "1/d", "10/s:0", "1.5", "s", "10:20", "10/s:"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_rate(text)


def test_a_burst_is_allowed_then_one_per_interval() -> None:
    rate, arrival, waits = Rate(6, 10), None, []
    for _ in range(11):
        new, wait = next_arrival(arrival, 100.0, rate)
        arrival = arrival if wait else new
        waits.append(wait)
    assert waits == [0.0] * 10 + [6.0]
    assert next_arrival(arrival, 106.0, rate)[1] == 0.0


async def test_while_redis_is_away_a_process_keeps_budgets_by_itself() -> None:
    budgets = Budgets(Away(), {"guest": Rate(60, 3)}, b"key")
    for _ in range(3):
        await budgets.take("guest", "198.51.100.1")
    with pytest.raises(PollroomError) as refused:
        await budgets.take("guest", "198.51.100.1")
    assert refused.value.code == "RATE_LIMITED"
    assert refused.value.retry_after == pytest.approx(60, abs=1)
    await budgets.take("guest", "198.51.100.2")
    await budgets.take("guest", None)
    assert budgets.refused == {"guest": 1}


async def test_what_a_process_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    budgets = Budgets(Away(), {"guest": Rate(60, 1)}, b"key")
    for number in range(50):
        await budgets.take("guest", f"198.51.100.{number}")
    assert len(budgets._arrivals) == 10
