"""Fetches the keys of an issuer."""

import asyncio
import urllib.request
from typing import Final

MAX_BYTES: Final = 256 * 1024
TIMEOUT_SECONDS: Final = 4.0


async def fetch_jwks(url: str) -> bytes:
    """``OSError`` or ``ValueError`` where there is none. ``url``: http or https, as the settings have checked."""
    return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        data: bytes = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("a key set that is too large")
    return data
