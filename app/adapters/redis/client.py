"""Connections to Redis. The library's own retries are off: one lost reply would make one write two."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, ResponseError, TimeoutError

ANSWER_SECONDS = 1.0
"""Redis answers within this or counts as silent."""

SILENT = (ConnectionError, TimeoutError, BusyLoadingError, OSError)
"""No answer: whether the command was executed is not known (while loading: it was not)."""

REFUSED = (ResponseError, ReadOnlyError)
"""Redis said no before any write: out of memory, disk full (MISCONF), a replica."""


def connect(url: str, *, timeout: float | None = ANSWER_SECONDS, connections: int = 32) -> Redis:
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        socket_timeout=timeout,
        socket_connect_timeout=ANSWER_SECONDS,
        max_connections=connections,
        protocol=2,
    )
