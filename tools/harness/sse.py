"""A client of server-sent events that checks each of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from tools.harness.http import Api, Person
from tools.harness.shapes import FRAMES

WAIT_SECONDS = 10


class Reader:
    """``next`` returns one event as ``{event, id, data}``; ``retry`` and comments are kept apart."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.retry: int | None = None
        self.comments = 0

    async def next(self, kind: str | None = None) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                event = await self._event()
                if kind is None or event["event"] == kind:
                    return event

    async def _event(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif name == "retry":
                self.retry = int(value)
            elif line:
                found[name] = json.loads(value) if name == "data" else value
            elif found:
                data = found["data"]
                assert data["type"] == found["event"]
                assert set(data) - {"type"} >= FRAMES[data["type"]]
                order = data.get("tally")
                assert found.get("id") == (f"{order['epoch']}-{order['seq']}" if order else None)
                return found
        raise EOFError

    async def ended(self) -> None:
        """Wait for the server to end the stream."""
        with suppress(EOFError):
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    await self._event()


@asynccontextmanager
async def stream(
    api: Api,
    poll: dict[str, Any],
    who: Person | None = None,
    base: str | None = None,
    kind: str = "polls",
) -> AsyncIterator[Reader]:
    """``base``: another way to the same server, as through a proxy. ``kind``: ``polls`` or ``decks``."""
    headers = {"Authorization": f"Bearer {who.token}"} if who else {}
    url = f"{base or api.server.url()}/{kind}/{poll['id']}/stream"
    async with (
        httpx.AsyncClient(verify=False, trust_env=False, timeout=WAIT_SECONDS) as http,
        http.stream("GET", url, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        # nginx takes this header for itself.
        assert base is not None or response.headers["x-accel-buffering"] == "no"
        yield Reader(response)
