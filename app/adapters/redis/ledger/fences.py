"""Fences: which server's data of a partition was last compared with SQL.

A fence stores the run ID of the server. In a cluster it stores a digest of the node's run ID and replication ID.
"""

import asyncio
import time
from typing import Any

from msgspec import Struct

from ....domain.errors import unavailable
from ....domain.layout import LAYOUT
from ....domain.log_position import NOTHING, LogPosition
from ....utils import logger
from ..connection.client import REFUSED, SILENT
from ..connection.cluster import Client
from ..connection.durability import durability
from ..connection.keys import Keys
from ..connection.scripts import Scripts

REWRITE_SECONDS, RETRY_SECONDS = 30.0, 0.02
"""A rewrite that takes longer needs several verifications."""

_log = logger.get(__name__)


class FenceState(Struct, frozen=True):
    """``run``: run ID of the server. ``verified``: run ID in the fence, or ``None`` without a fence.

    ``generation``: 0 without a fence. ``trimmed``: last entry of this generation that was trimmed from the log, ``NOTHING``
    for none. ``ledger``: ID of the deployment, or ``None`` if a version before 1.0 wrote the fence. ``layout``: 0 if unknown.
    """

    run: str
    verified: str | None
    generation: int
    trimmed: LogPosition
    ledger: str | None
    layout: int


class RedisFences:
    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def inspect(self, partition: int) -> FenceState:
        try:
            found = await self._scripts.call("inspect", [self._keys.fence(partition)], [])
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        run, verified, generation, trimmed, ledger, layout = found
        return FenceState(
            run,
            verified or None,
            int(generation or 0),
            LogPosition.parse(trimmed) if trimmed else NOTHING,
            ledger or None,
            int(layout or 0),
        )

    async def trusted(self) -> bool:
        """Whether a restart loses no writes: every server uses ``appendfsync always`` and neither has nor was a replica."""
        safe, _ = await durability(self._client)
        if not safe:
            return False
        try:
            for server in await self._client.nodes():
                info: Any = await server.info("replication")
                alone = info.get("role") == "master" and info.get("connected_slaves") == 0
                if not alone or str(info.get("master_replid2", 0)).strip("0"):
                    return False
        except (*SILENT, *REFUSED):
            return False
        return not self._client.replicated

    async def rewrite_aof(self, partition: int) -> None:
        """Rewrite the append-only file once after each start of the server.

        Redis 7.0, and Valkey before PR 4342, leave a partial batch in the file that was open at a crash. At the second start
        after it they replay that partial batch, followed by the writes acknowledged since. The rewrite removes it.
        """
        until = time.monotonic() + REWRITE_SECONDS
        refused: Exception | None = None
        try:
            server = await self._client.node(self._keys.fence(partition))
            while True:
                info: Any = await server.info("persistence")
                if not info["aof_enabled"] or info["aof_last_rewrite_time_sec"] >= 0:
                    return
                if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                    if refused is not None:
                        raise refused
                    try:
                        await server.bgrewriteaof()
                    except REFUSED as error:
                        refused = error  # or another process came first: then it is in progress now
                        continue
                if time.monotonic() > until:
                    raise unavailable()
                await asyncio.sleep(RETRY_SECONDS)
        except REFUSED as error:
            _log.warning("append-only file not rewritten", error=str(error)[:200])
        except SILENT as error:
            raise unavailable() from error

    async def write(self, partition: int, run: str, generation: int, ledger: str) -> bool:
        """Returns false if the server was restarted since ``inspect`` returned ``run``."""
        return await self._change("fence", partition, run, generation, ledger, LAYOUT)

    async def remove(self, partition: int, generation: int) -> bool:
        """Returns false if the fence is of another generation. The generation stays readable."""
        return await self._change("unfence", partition, generation)

    async def _change(self, script: str, partition: int, *args: str | int) -> bool:
        try:
            return bool(await self._scripts.raw(script, [self._keys.fence(partition)], args))
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
