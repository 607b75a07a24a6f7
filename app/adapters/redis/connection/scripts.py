"""The ledger's Lua scripts, called by digest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import NoScriptError

from .cluster import Client

_FOLDER = Path(__file__).parent.parent / "scripts"
_PRELUDE = (_FOLDER / "prelude.lua").read_text() + (_FOLDER / "kinds.lua").read_text()
_PREFIXES = ("prelude", "kinds", "server", "member")
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Scripts:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.digests: dict[str, str] = {}

    async def load(self, key: str) -> None:
        """Load all scripts on the server of ``key``. Repeat after ``NoScriptError`` (a restarted or different server)."""
        server = await self._client.node(key)
        name_of_server = (_FOLDER / f"{self._client.identity_script}.lua").read_text()
        for path in sorted(_FOLDER.glob("*.lua")):
            if path.stem in _PREFIXES:
                continue
            text = path.read_text()
            if "No prelude but" in text:
                text = name_of_server + text
            elif "No prelude." not in text:
                text = name_of_server + _PRELUDE + text
            self.digests[path.stem] = await server.script_load(text)

    async def call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> list[Any]:
        """Call a script once and decode its msgpack array. Retries only after ``NoScriptError``."""
        return _decode(await self.raw(name, keys, args))

    async def raw(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        if name not in self.digests:
            await self.load(keys[0])
        try:
            return await self._client.evalsha(self.digests[name], len(keys), *keys, *args)
        except NoScriptError:
            await self.load(keys[0])
            return await self._client.evalsha(self.digests[name], len(keys), *keys, *args)

    async def pipeline(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | bytes | int]]]
    ) -> list[list[Any] | Exception]:
        """Make several calls in one round trip per server. A failed call yields its exception. ``calls`` must not be empty."""
        if name not in self.digests:
            await self.load(calls[0][0][0])
        pipe = self._client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self.digests[name], len(keys), *keys, *args)
        replies = await pipe.execute(raise_on_error=False)
        return [reply if isinstance(reply, Exception) else _decode(reply) for reply in replies]
