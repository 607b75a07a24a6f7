"""Engine.IO by hand, for what the real client would not send."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tools.harness.process import Server

PATH = "/socket.io/?EIO=4&transport="


class Engine:
    """A WebSocket after the engine's handshake and Socket.IO's. ``next`` gives events and acknowledgements alike."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: str | bytes) -> None:
        await self.connection.send(frame)

    async def next(self, timeout: float = 5) -> tuple[str, Any]:
        """Kind (``event``'s name, or ``ack`` with its number) and the object; pings are answered."""
        async with asyncio.timeout(timeout):
            while True:
                frame = str(await self.connection.recv())
                if frame == "2":
                    await self.send("3")
                elif frame.startswith("42"):
                    name, message = json.loads(frame[2:])
                    return name, message
                elif frame.startswith("43"):
                    number, _, rest = frame[2:].partition("[")
                    return f"ack {number}", json.loads("[" + rest)[0]

    async def error(self, kind: str = "error") -> str:
        """The code of what comes next, which has to be an error."""
        name, message = await self.next()
        assert (name, message["type"]) == (kind, "ERROR"), (name, message)
        return str(message["code"])

    async def alive(self) -> None:
        await self.send('4277["leave_poll",{"pollId":"nothing"}]')
        while (await self.next())[0] != "ack 77":
            pass


@contextlib.asynccontextmanager
async def engine(
    server: Server, origin: str | None = None, auth: str = "", **options: Any
) -> AsyncIterator[Engine]:
    url = server.url().replace("http", "ws", 1) + PATH + "websocket"
    async with connect(
        url,
        origin=None if origin is None else Origin(origin),
        compression=None,
        ping_interval=None,
        max_size=None,
        close_timeout=1,
        proxy=None,
        **options,
    ) as connection:
        assert str(await connection.recv()).startswith("0{")
        await connection.send("40" + auth)
        assert str(await connection.recv()).startswith("40{")
        yield Engine(connection)


class Polling:
    """A session by long polling."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self.url = url

    async def post(self, body: str | bytes) -> httpx.Response:
        return await self._http.post(self.url, content=body, headers={"Content-Type": "text/plain"})

    async def packets(self) -> list[str]:
        return (await self._http.get(self.url)).text.split("\x1e")

    async def errors(self, count: int) -> list[str]:
        """The codes of so many errors."""
        codes: list[str] = []
        async with asyncio.timeout(10):
            while len(codes) < count:
                errors = [packet for packet in await self.packets() if packet.startswith('42["error"')]
                codes += [json.loads(packet[2:])[1]["code"] for packet in errors]
        return codes


@contextlib.asynccontextmanager
async def polling(server: Server) -> AsyncIterator[Polling]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        url = server.url() + PATH + "polling"
        opened = json.loads((await http.get(url)).text[1:])
        session = Polling(http, f"{url}&sid={opened['sid']}")
        assert (await session.post("40")).status_code == 200
        assert (await session.packets())[0].startswith("40{")
        yield session
