"""Connections to Redis. The library's retries are off: after a lost reply they would repeat a write."""

import asyncio
from typing import Any

from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import TimeoutError as SilentError

ANSWER_SECONDS = 1.0
"""Timeout of a reply."""

SILENT = (ConnectionError, SilentError, BusyLoadingError, OSError)
"""No reply: the command may have been executed (but not while Redis is loading)."""

REFUSED = (ResponseError, ReadOnlyError)
"""Redis refused before any write: out of memory, disk full (MISCONF), or a replica."""

FAILED = (*SILENT, *REFUSED, InvalidResponse)
"""Any of the above, or a reply that is not in the Redis protocol."""


def hopeless(error: BaseException) -> bool:
    """Whether a retry cannot succeed: wrong password, user, database number, or a server that is not Redis."""
    if isinstance(error, AuthenticationError | NoPermissionError | InvalidResponse):
        return True
    return isinstance(error, ResponseError) and "DB index is out of range" in str(error)


class _Cancellable:
    """Sends with ``asyncio.timeout``. The library uses ``wait_for``, which can lose a cancellation before Python 3.12."""

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        connection: Any = super()
        bound, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(bound):
                await connection.send_packed_command(command, check_health=check_health)
        except TimeoutError as error:
            raise SilentError("Timeout writing to socket") from error
        except RuntimeError as error:
            # uvloop raises this for a closed transport; the asyncio loop does not.
            raise ConnectionError("the connection has ended") from error
        finally:
            self.socket_timeout = bound


class _Tcp(_Cancellable, Connection):
    pass


class _Tls(_Cancellable, SSLConnection):
    pass


class _Unix(_Cancellable, UnixDomainSocketConnection):
    pass


_CLASSES: dict[type, type] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def connect(url: str, *, timeout: float | None = ANSWER_SECONDS, connections: int = 32) -> Redis:
    client = Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        socket_timeout=timeout,
        socket_connect_timeout=ANSWER_SECONDS,
        max_connections=connections,
        protocol=2,
    )
    pool = client.connection_pool
    pool.connection_class = _CLASSES[pool.connection_class]
    return client
