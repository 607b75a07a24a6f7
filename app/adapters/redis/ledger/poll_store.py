"""Lists the polls that Redis holds, exports their ballots and removes polls."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis

from ....domain.ballots import BallotRow, PollChange
from ....domain.errors import unavailable
from ....domain.log_position import LogPosition
from ..connection.client import REFUSED, SILENT
from ..connection.cluster import Client
from ..connection.keys import Keys
from ..connection.scripts import Scripts
from .codec import unpack_ballots

CHUNK = 1000


class RedisPollStore:
    def __init__(self, client: Client, keys: Keys, publish: str = "PUBLISH") -> None:
        self._client = client
        self._keys = keys
        self._publish = publish
        self._scripts = Scripts(client)

    async def polls(self, partition: int | None = None) -> AsyncIterator[list[str]]:
        """IDs of all polls, or those of a partition, in chunks. A poll added or removed meanwhile may be missed."""
        tag = "{p*}" if partition is None else self._keys.tag(partition)
        found: Any
        try:
            for server in await self._servers(partition):
                cursor: Any = None
                while cursor != 0:
                    cursor, found = await server.scan(cursor or 0, match=f"{tag}:poll:*", count=CHUNK)
                    if found:
                        yield [key.decode().rpartition(":")[2] for key in found]
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def seqs(self, poll_ids: Sequence[str]) -> dict[str, int]:
        """Maps poll IDs to ``seq``, for polls that are installed."""
        pipe = self._client.pipeline(transaction=False)
        for poll_id in poll_ids:
            pipe.hget(self._keys.poll(poll_id)[0], "seq")
        try:
            found = await pipe.execute()
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        return {poll_id: int(seq) for poll_id, seq in zip(poll_ids, found, strict=True) if seq is not None}

    async def endings(self, poll_ids: Sequence[str]) -> list[PollChange]:
        """Closings and deletions of these polls, with the ``seq`` of each poll. A deletion is the last entry of a poll."""
        pipe = self._client.pipeline(transaction=False)
        for poll_id in poll_ids:
            pipe.hmget(self._keys.poll(poll_id)[0], "seq", "closed", "deleted", "last")
        try:
            found = await pipe.execute()
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        changes = []
        for poll_id, (seq, closed, deleted, last) in zip(poll_ids, found, strict=True):
            if seq is not None and int(closed):
                changes.append(PollChange("close", poll_id, int(seq), int(closed)))
            if seq is not None and deleted == b"1":
                changes.append(
                    PollChange("delete", poll_id, int(seq), LogPosition.parse(last.decode()).milliseconds)
                )
        return changes

    async def drop(self, poll_id: str, seq: int) -> bool:
        """Remove a poll whose ``seq`` is lower, unless its partition accepts votes."""
        keys = [self._keys.fence(self._keys.partition(poll_id)), *self._keys.poll(poll_id)]
        return bool(await self._run("drop", keys, [seq]))

    async def unload(self, poll_id: str, generation: int, last_id: LogPosition, idle_seconds: int) -> bool:
        """Remove a poll that was idle for ``idle_seconds`` and whose entries up to ``last_id`` are all in SQL."""
        partition = self._keys.partition(poll_id)
        keys = [self._keys.fence(partition), self._keys.log(partition, generation), *self._keys.poll(poll_id)]
        args: list[str | bytes | int] = [
            generation,
            self._publish,
            poll_id,
            idle_seconds,
            last_id.milliseconds,
            last_id.number,
        ]
        try:
            reply = await self._scripts.call("unload", keys, args)
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        return reply[0] == "ok" and bool(reply[1])

    async def ballots(self, poll_id: str, epoch: int) -> AsyncIterator[list[BallotRow]]:
        """All ballots of a poll as SQL rows, in chunks."""
        poll, _, ballots = self._keys.poll(poll_id)
        try:
            options: Any = await self._client.hget(poll, "options")
            if options is None:
                return
            cursor: Any = 0
            found: Any
            while True:
                cursor, found = await self._client.hscan(ballots, cursor, count=CHUNK)
                if found:
                    yield unpack_ballots(poll_id, epoch, options.decode().split(","), list(found.items()))
                if not cursor:
                    return
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    def partition(self, poll_id: str) -> int:
        return self._keys.partition(poll_id)

    async def _servers(self, partition: int | None) -> list[Redis]:
        if partition is None:
            return await self._client.nodes()
        return [await self._client.node(self._keys.tag(partition))]

    async def _run(self, script: str, keys: list[str], args: list[str | bytes | int]) -> Any:
        try:
            return await self._scripts.raw(script, keys, args)
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
