"""Whether a partition's data is what SQL was last compared with: the run id of the server, kept beside the data."""

from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from app.adapters.redis.client import REFUSED, SILENT
from app.adapters.redis.durability import durability
from app.adapters.redis.keys import Keys
from app.adapters.redis.scripts import Scripts
from app.utils.errors import unavailable


class FenceState(Struct, frozen=True):
    """``run``: the server's run id now; ``verified``: the one in the fence, none without a fence.

    ``trimmed``: the last entry of this generation that was dropped from the log, ``0-0`` for none.
    """

    run: str
    verified: str | None
    generation: int
    trimmed: str


class RedisFences:
    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def inspect(self, partition: int) -> FenceState:
        try:
            info: Any = await self._client.info("server")
            fence: Any = await self._client.hmget(self._keys.fence(partition), "run", "generation", "trimmed")
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        verified, generation, trimmed = fence
        return FenceState(
            info["run_id"],
            verified.decode() if verified else None,
            int(generation or 0),
            trimmed.decode() if trimmed else "0-0",
        )

    async def trusted(self) -> bool:
        """Whether a restart of this server loses nothing: it says ``always``, and neither has nor was a replica."""
        safe, _ = await durability(self._client)
        try:
            info: Any = await self._client.info("replication")
        except (*SILENT, *REFUSED):
            return False
        alone = info.get("role") == "master" and info.get("connected_slaves") == 0
        return bool(safe) and alone and not str(info.get("master_replid2", 0)).strip("0")

    async def write(self, partition: int, run: str, generation: int) -> bool:
        """False where the server was restarted since ``inspect`` saw ``run``."""
        try:
            return bool(await self._scripts.raw("fence", [self._keys.fence(partition)], [run, generation]))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
