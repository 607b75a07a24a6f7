"""The ledger's Lua scripts, called by digest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_FOLDER = Path(__file__).parent
_PRELUDE = (_FOLDER / "prelude.lua").read_text()
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Scripts:
    def __init__(self, client: Redis) -> None:
        self._client = client
        self.digests: dict[str, str] = {}

    async def load(self) -> None:
        """Idempotent; again after ``NoScriptError`` (a restarted or flushed server)."""
        for path in sorted(_FOLDER.glob("*.lua")):
            if path.stem == "prelude":
                continue
            text = path.read_text()
            self.digests[path.stem] = await self._client.script_load(
                text if "No prelude." in text else _PRELUDE + text
            )

    async def call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> list[Any]:
        """One call, answered with the decoded msgpack array. No retry but for a script that Redis has forgotten."""
        return _decode(await self.raw(name, keys, args))

    async def raw(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        if name not in self.digests:
            await self.load()
        try:
            return await self._client.evalsha(self.digests[name], len(keys), *keys, *args)
        except NoScriptError:
            await self.load()
            return await self._client.evalsha(self.digests[name], len(keys), *keys, *args)

    async def pipeline(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | bytes | int]]]
    ) -> list[list[Any] | Exception]:
        """Several calls in one round trip; an exception in the place of each that failed, raised where none was sent."""
        if name not in self.digests:
            await self.load()
        pipe = self._client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self.digests[name], len(keys), *keys, *args)
        replies = await pipe.execute(raise_on_error=False)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self.digests.clear()
        return [reply if isinstance(reply, Exception) else _decode(reply) for reply in replies]
