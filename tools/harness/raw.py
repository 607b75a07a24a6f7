"""WebSocket frames by hand, for what a library would not send, or would hide."""

import asyncio
import base64
import contextlib
import json
import os
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tools.harness.process import Server

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Raw:
    """A connection after the answer to its upgrade: ``status`` and ``headers`` (lower-case names), then frames."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        status: int,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.status = status
        self.headers = headers
        self.body = body

    async def send(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0
    ) -> None:
        size = len(payload)
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        bit = 0x80 if mask else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", size)
        if mask:
            key = os.urandom(4)
            head += key
            payload = bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))
        self._writer.write(head + payload)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        assert not second & 0x80, "a server must not mask"
        assert not first & 0x70, "no extension was agreed on"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", await self._reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", await self._reader.readexactly(8))[0]
        return first & 0x0F, await self._reader.readexactly(size)

    async def next(self, opcode: int, timeout: float = 5) -> bytes:
        """The payload of the next frame with ``opcode``; others are passed over."""
        async with asyncio.timeout(timeout):
            while True:
                kind, payload = await self.frame()
                if kind == opcode:
                    return payload

    async def message(self, kind: str, timeout: float = 5) -> dict[str, Any]:
        """The next message of that ``type``."""
        async with asyncio.timeout(timeout):
            while True:
                message: dict[str, Any] = json.loads(await self.next(TEXT, timeout))
                if message["type"] == kind:
                    return message

    async def closed(self, timeout: float = 5) -> int:
        """The close code; 1006 where the connection ended without one."""
        try:
            payload = await self.next(CLOSE, timeout)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006
        return int(struct.unpack(">H", payload[:2])[0]) if payload else 1005

    async def alive(self) -> None:
        await self.send(TEXT, b'{"type":"PING"}')
        await self.message("PONG")


@contextlib.asynccontextmanager
async def raw_socket(
    server: Server, headers: Mapping[str, str] | None = None, path: str = "/ws"
) -> AsyncIterator[Raw]:
    """An upgrade sent by hand; ``headers`` replace or add to the usual ones. A refused one has a ``body``."""
    where = urlsplit(server.url())
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    sent = {
        "Host": where.netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    } | dict(headers or {})
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    try:
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            got = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            status = int(head[0].split()[1])
            body = b"" if status == 101 else await reader.readexactly(int(got.get("content-length", 0)))
        yield Raw(reader, writer, status, got, body)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
