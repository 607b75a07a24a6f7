"""How often a client may do what costs the server something."""

import re
from typing import Final, Literal

from msgspec import Struct

BudgetName = Literal["register", "guest", "refresh", "login", "login_account", "code_miss", "proof"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_RATE: Final = re.compile(r"([0-9]{1,7})(?:/([smh])(?::([0-9]{1,7}))?)?")
_BURST_SECONDS: Final = 5


class Rate(Struct, frozen=True):
    """One call per ``interval`` seconds, with bursts of ``burst`` calls. ``burst`` 0: no limit."""

    interval: float
    burst: int


def parse_rate(text: str) -> Rate:
    """``100/s:500`` is 100 per second in bursts of 500; ``10/m`` is 10 per minute, all at once if need be; ``100`` is
    ``100/s:500``; ``0`` means no limit. Raises ``ValueError``."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    count, unit, burst = int(match[1]), match[2], match[3]
    if count == 0:
        return Rate(0, 0)
    allowed = int(burst) if burst else count if unit else count * _BURST_SECONDS
    if allowed == 0:
        raise ValueError(text)
    return Rate(_UNITS[unit or "s"] / count, allowed)


def next_arrival(previous: float | None, now: float, rate: Rate) -> tuple[float, float]:
    """GCRA (ITU-T I.371): the theoretical arrival time after a call at ``now``, and the seconds to wait; 0 if it is allowed."""
    arrival = max(previous or now, now) + rate.interval
    return arrival, max(0.0, arrival - rate.burst * rate.interval - now)
