"""Connections to Redis. The library's retries are off: after a lost reply they would repeat a write."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

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
    _writer: asyncio.StreamWriter | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        connection: Any = super()
        if self._writer is not None and self._writer.transport.is_closing():
            # asyncio says nothing before Python 3.12, and later breaks with an error of its own.
            await connection.disconnect(nowait=True)
            raise ConnectionError("the connection has ended")
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


class Server(Redis):
    """One server. ``Cluster`` has the same methods, so that nobody needs to know which of both a client is."""

    identity_script = "server"
    independent_partitions = False
    replicated = False

    async def node(self, key: str) -> Redis:
        """The server of a key, for commands that address a server."""
        return self

    async def nodes(self) -> list[Redis]:
        """All servers that have data of the ledger."""
        return [self]

    async def any_node(self) -> Redis:
        return self

    def doubt(self, key: str) -> None:
        """A server was silent or refused a command."""

    async def publish_command(self) -> str:
        return "PUBLISH"

    async def read_streams(self, streams: Mapping[str, str], count: int, block_ms: int) -> list[Any]:
        """A reply of ``XREAD``. The read timeout must exceed ``block_ms``."""
        wanted: dict[Any, Any] = dict(streams)
        found: Any = await self.xread(wanted, count=count, block=block_ms or None)
        return found or []


def connect(url: str, *, timeout: float | None = ANSWER_SECONDS, connections: int = 32) -> Server:
    client: Any = Server.from_url(
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
    return cast(Server, client)
