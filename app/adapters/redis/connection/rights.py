"""Checks the permissions of the Redis user. ``docs/reliability.md`` lists them for operators."""

from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import NoPermissionError, ResponseError

from .cluster import Client
from .keys import Keys
from .scripts import Scripts

_DENIED: Final = ("permission", "The user executing the script can't")


class MissingRights(Exception):
    """The Redis user lacks permissions. ``str()`` names the commands, keys or channels to grant."""


async def check_rights(client: Client, keys: Keys) -> None:
    """Raises ``MissingRights`` if a permission is missing. Other Redis errors propagate."""
    key, other, channel = keys.rights()
    missing: list[str] = []
    for name, reason in await _in_scripts(client, [key, other], channel, missing):
        if not any(word in reason for word in _DENIED):
            raise ResponseError(reason)
        missing.append(_named(name, reason))
    direct: dict[str, Callable[[], Awaitable[object]]] = {
        "PING": client.ping,
        "SET": lambda: client.set(keys.probe(0), "1", px=1),
        "HGET": lambda: client.hget(key, "field"),
        "XREAD": lambda: client.xread({key: "0"}, count=1),
        "XLEN": lambda: client.xlen(key),
        "XINFO STREAM": lambda: client.xinfo_stream(key),
        "SCAN": lambda: client.scan(0, match=key, count=1),
    }
    for name, call in direct.items():
        try:
            await call()
        except NoPermissionError as error:
            missing.append(_named(name, str(error)))
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
    if missing:
        raise MissingRights(f"the Redis user lacks rights: {', '.join(dict.fromkeys(missing))}")


def _named(command: str, reason: str) -> str:
    if "channel" in reason:
        return "channels {p*"
    return "keys {p*" if " key" in reason else command


async def _in_scripts(
    client: Client, both: list[str], channel: str, missing: list[str]
) -> list[tuple[str, str]]:
    try:
        return [
            (str(name), str(reason)) for name, reason in await Scripts(client).call("rights", both, [channel])
        ]
    except NoPermissionError as error:
        missing.append(_named("SCRIPT LOAD, EVALSHA", str(error)))
        return []
