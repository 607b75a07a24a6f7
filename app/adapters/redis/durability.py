"""What an acknowledgement of this Redis means."""

from redis.asyncio import Redis

from app.adapters.redis.client import REFUSED, SILENT

WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


async def durability(client: Redis) -> tuple[bool | None, str]:
    """Whether every vote is on disk before its answer (none: cannot be read), and how Redis is set."""
    found: dict[str, str] = {}
    try:
        for name in WANTED:
            answer: dict[str, str] = await client.config_get(name)  # type: ignore[assignment]
            found |= answer
    except (*SILENT, *REFUSED) as error:
        return None, f"Redis does not say ({type(error).__name__})"
    wrong = {name: found.get(name, "?") for name, value in WANTED.items() if found.get(name) != value}
    if not wrong:
        return True, "Redis writes each vote to disk before it answers (appendfsync always)"
    said = ", ".join(f"{name} {value}" for name, value in wrong.items())
    return False, f"Redis may lose acknowledged votes ({said})"
