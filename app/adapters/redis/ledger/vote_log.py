"""The vote log: one stream per partition and generation, read with ``XREAD`` without consumer groups."""

from collections.abc import Mapping

from ....domain.ballots import LogContent, LogEntry
from ....domain.errors import unavailable
from ....domain.log_position import NOTHING, LogPlace, LogPosition
from ..connection.client import REFUSED, SILENT
from ..connection.cluster import Client
from ..connection.keys import Keys
from ..connection.scripts import Scripts
from . import log_codec


class RedisVoteLog:
    """The read timeout of ``client`` must exceed ``block_ms``, except in a cluster."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def read(
        self, offsets: Mapping[int, LogPlace], count: int, block_ms: int
    ) -> dict[int, list[LogEntry]]:
        streams = {self._keys.log(partition, gen): str(last) for partition, (gen, last) in offsets.items()}
        partitions = {self._keys.log(p, gen).encode(): p for p, (gen, _) in offsets.items()}
        try:
            reply = await self._client.read_streams(streams, count, block_ms)
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        found: dict[int, list[LogEntry]] = {}
        for stream, entries in reply:
            partition = partitions[stream]
            generation = offsets[partition].generation
            found[partition] = [
                LogEntry(LogPosition.parse(id.decode()), payload, log_codec.decode(payload, generation))
                for id, payload in ((id, fields.get(b"e", b"")) for id, fields in entries)
            ]
        return found

    def decode(self, payload: bytes, generation: int) -> LogContent:
        return log_codec.decode(payload, generation)

    async def trim(self, partition: int, generation: int, bound: LogPosition) -> None:
        following = bound._replace(number=bound.number + 1)
        keys = [self._keys.fence(partition), self._keys.log(partition, generation)]
        try:
            await self._scripts.raw("trim", keys, [str(bound), str(following), generation])
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def discard(self, partition: int, generation: int) -> None:
        """Remove the log of an earlier generation after all of it was stored."""
        try:
            await self._client.unlink(self._keys.log(partition, generation))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def length(self, generations: Mapping[int, int]) -> int:
        pipe = self._client.pipeline(transaction=False)
        for partition, generation in generations.items():
            pipe.xlen(self._keys.log(partition, generation))
        try:
            return sum(await pipe.execute())
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error

    async def last_id(self, partition: int, generation: int) -> LogPosition:
        """ID of the newest entry ever written, even if it was trimmed; ``NOTHING`` for an empty log."""
        try:
            if not await self._client.exists(self._keys.log(partition, generation)):
                return NOTHING
            info = await self._client.xinfo_stream(self._keys.log(partition, generation))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        last = info["last-generated-id"]
        return LogPosition.parse(last.decode() if isinstance(last, bytes) else str(last))
