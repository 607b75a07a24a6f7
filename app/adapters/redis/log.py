"""The vote log as the worker reads it: one stream a partition and generation, plain ``XREAD``, no consumer groups."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from app.adapters.redis.client import REFUSED, SILENT
from app.adapters.redis.keys import Keys
from app.adapters.redis.scripts import Scripts
from app.modules.vote.types import LogEntry
from app.utils.errors import unavailable


class RedisVoteLog:
    """``client`` must allow an answer to take as long as ``block_ms``."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def read(
        self, offsets: Mapping[int, tuple[int, str]], count: int, block_ms: int
    ) -> dict[int, list[LogEntry]]:
        streams: dict[Any, Any] = {
            self._keys.log(partition, gen): last for partition, (gen, last) in offsets.items()
        }
        partitions = {self._keys.log(p, gen).encode(): p for p, (gen, _) in offsets.items()}
        try:
            reply: Any = await self._client.xread(streams, count=count, block=block_ms or None)
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        return {
            partitions[stream]: [
                LogEntry(entry_id.decode(), fields.get(b"e", b"")) for entry_id, fields in entries
            ]
            for stream, entries in reply or []
        }

    async def trim(self, partition: int, generation: int, bound: str) -> None:
        milliseconds, _, number = bound.partition("-")
        following = f"{milliseconds}-{int(number) + 1}"
        keys = [self._keys.fence(partition), self._keys.log(partition, generation)]
        try:
            await self._scripts.raw("trim", keys, [bound, following, generation])
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def discard(self, partition: int, generation: int) -> None:
        """Remove the log of a generation that has ended, once it is stored."""
        try:
            await self._client.unlink(self._keys.log(partition, generation))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def last_id(self, partition: int, generation: int) -> str:
        """The id of the newest entry ever written, also when it was trimmed; ``0-0`` for an empty log."""
        try:
            if not await self._client.exists(self._keys.log(partition, generation)):
                return "0-0"
            info = await self._client.xinfo_stream(self._keys.log(partition, generation))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        last = info["last-generated-id"]
        return last.decode() if isinstance(last, bytes) else str(last)
