"""Whether a partition's data is what SQL was last compared with: the run id of the server, kept beside the data."""

from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from app.adapters.redis.client import REFUSED, SILENT
from app.adapters.redis.keys import Keys
from app.adapters.redis.scripts import Scripts
from app.utils.errors import unavailable


class FenceState(Struct, frozen=True):
    """``run``: the server's run id now; ``verified``: the one in the fence, none without a fence."""

    run: str
    verified: str | None
    generation: int


class RedisFences:
    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def inspect(self, partition: int) -> FenceState:
        try:
            info: Any = await self._client.info("server")
            fence: Any = await self._client.hmget(self._keys.fence(partition), "run", "generation")
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        verified, generation = fence
        return FenceState(info["run_id"], verified.decode() if verified else None, int(generation or 0))

    async def write(self, partition: int, run: str, generation: int) -> bool:
        """False where the server was restarted since ``inspect`` saw ``run``."""
        try:
            return bool(await self._scripts.raw("fence", [self._keys.fence(partition)], [run, generation]))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
