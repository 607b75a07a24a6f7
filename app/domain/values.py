"""Values that every module shares: ids and times."""

import re
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

_ALPHABET: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS: Final = 60
ID_LENGTH: Final = 17

Id = Annotated[str, Meta(max_length=26, pattern=r"^[A-Za-z0-9_-]+\Z")]
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,26}")
BallotId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]


class _Ids:
    """Time-ordered ids, also within one millisecond of one process: 42 bits of time, 60 random ones."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        now = (time.time_ns() // 1_000_000) << _RANDOM_BITS
        # The next id of the same millisecond (or after a clock that stepped back) lies a random step above the last.
        value = now | secrets.randbits(_RANDOM_BITS)
        if value <= self._last or value >> _RANDOM_BITS == self._last >> _RANDOM_BITS:
            value = self._last + 1 + secrets.randbits(40)
        self._last = value
        return "".join(_ALPHABET[(value >> shift) & 63] for shift in range(6 * (ID_LENGTH - 1), -1, -6))


new_id = _Ids()


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    seconds, rest = divmod(ms, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def optional_rfc3339(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def to_ms(at: datetime) -> int:
    """An aware time as milliseconds since the epoch."""
    return int(at.timestamp() * 1000 + 0.5)


class Camel(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Base of everything that clients send or get."""
