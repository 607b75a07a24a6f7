"""HTTP by hand, for what no client library would send."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tools.harness.process import Server

ANSWER_SECONDS = 20.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Raises ``ConnectionError`` when the server has ended the connection."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> Answer:
        """The next whole answer; ``head`` for the answer to a HEAD request. Interim answers are skipped."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                status = int(lines[0].split()[1])
                if status != 100:
                    break
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            body = b"" if head else await self.reader.readexactly(int(headers.get("content-length", 0)))
            return Answer(status, headers, body)

    async def ended(self, seconds: float = ANSWER_SECONDS) -> bytes:
        """What still came before the server ended the connection."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read(-1)
            except ConnectionError:
                return b""


@contextlib.asynccontextmanager
async def wire(server: Server, local: str | None = None) -> AsyncIterator[Wire]:
    """``local``: the address to connect from."""
    where = urlsplit(server.url())
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, local_addr=(local, 0) if local else None, limit=1 << 20
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(server: Server, data: bytes) -> Answer:
    """The answer to ``data``, on a connection of its own."""
    async with wire(server) as connection:
        with contextlib.suppress(ConnectionError):
            await connection.send(data)
        return await connection.answer()
