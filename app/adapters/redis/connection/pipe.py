"""One connection for ballots, its commands packed by hand.

The library packs every key anew and takes 1 µs for each; a ballot has three. Here the keys of a poll are packed once.
Connecting, logging in and TLS remain the library's.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from .cluster import Client, Cluster, node_of
from .cluster_pipeline import MOVED, Moving


def bulk(value: bytes) -> bytes:
    """One argument of a command, in Redis' protocol (RESP)."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Pipe:
    """Commands in, as many replies out, in one round trip. One caller at a time."""

    def __init__(self, client: Client, key: str) -> None:
        """To the server of ``key``: in a cluster the one that serves its partition at the moment."""
        self._client = client
        self._key = key
        self._connection: Any = None

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """The replies, an error reply as an exception in its place.

        Raises the library's connection errors. After them, and where the caller gives up, the connection is closed: a late
        reply meets nobody.
        """
        if self._connection is None:
            server = await node_of(self._client, self._key)
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
            self._doubt()
            await self.close()
            raise
        if any(isinstance(reply, MOVED) for reply in replies):
            self._doubt()
            await self.close()
            replies = [Moving(str(reply)) if isinstance(reply, MOVED) else reply for reply in replies]
        return replies

    def _doubt(self) -> None:
        if isinstance(self._client, Cluster):
            self._client.doubt(self._key)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
