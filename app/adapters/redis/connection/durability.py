"""Checks whether Redis writes each vote to disk before it acknowledges it."""

from .client import REFUSED, SILENT
from .cluster import Client

WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


async def durability(client: Client) -> tuple[bool | None, str]:
    """Whether every vote is on disk before its reply (``None`` if unknown), and a sentence that explains it."""
    wrong: dict[str, str] = {}
    try:
        for server in await client.nodes():
            for name, value in WANTED.items():
                answer: dict[str, str] = await server.config_get(name)  # type: ignore[assignment]
                if answer.get(name) != value:
                    wrong[name] = answer.get(name, "?")
    except (*SILENT, *REFUSED) as error:
        return None, f"Redis does not say ({type(error).__name__})"
    if not wrong:
        failover = ", and a failover to a replica may lose the last ones"
        replicated = client.replicated
        return (
            True,
            "Redis writes each vote to disk before it answers (appendfsync always)" + failover * replicated,
        )
    said = ", ".join(f"{name} {value}" for name, value in wrong.items())
    return False, f"Redis may lose acknowledged votes ({said})"
