"""A connection for ballots that sends commands encoded in advance.

The library encodes every key of every command, at about 1 µs per key, and a poll has three. Here the keys of a poll are encoded
once. The library still handles connecting, authentication and TLS.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from .cluster import Client
from .cluster_pipeline import MOVED, Moving


class Pipe:
    """Sends commands and reads their replies in one round trip. One caller at a time."""

    def __init__(self, client: Client, key: str) -> None:
        """Connects to the server of ``key``, which can change in a cluster."""
        self._client = client
        self._key = key
        self._connection: Any = None

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """Return the replies in order. An error reply is returned as an exception.

        Raises the library's connection errors. After an error or a cancellation the connection is closed, so that a late reply
        is never read as the reply to another command.
        """
        if self._connection is None:
            server = await self._client.node(self._key)
            self._connection = server.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await self._connection.send_packed_command(commands, check_health=False)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(await self._connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        except BaseException:
            self._client.doubt(self._key)
            await self.close()
            raise
        if any(isinstance(reply, MOVED) for reply in replies):
            self._client.doubt(self._key)
            await self.close()
            replies = [Moving(str(reply)) if isinstance(reply, MOVED) else reply for reply in replies]
        return replies

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
