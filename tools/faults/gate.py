"""A TCP relay before a server that loses, cuts, delays or holds what passes, as a rule decides for each message."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

CHUNK = 1 << 18


class Fate(Enum):
    """``HOLD``: waits at the gate until ``release``, then goes on, also when its sender is gone by then."""

    PASS = "pass"
    DROP = "drop"
    CUT = "cut"
    HOLD = "hold"


Rule = Callable[[bytes], Fate]
"""What becomes of a chunk. A small message comes as one chunk; a reply is judged by the request before it."""


def passing(_: bytes) -> Fate:
    return Fate.PASS


class Gate:
    """``request``, ``reply``: the rules. ``held`` is set when something waits. ``silent``: nothing passes, either way."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self.request: Rule = passing
        self.reply: Rule = passing
        self.held = asyncio.Event()
        self.silent = False
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def arm(self, *, request: Rule = passing, reply: Rule = passing) -> None:
        self.held.clear()
        self._open.clear()
        self.request, self.reply = request, reply

    def release(self) -> None:
        self.request = self.reply = passing
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
            last = [b""]
            forth = asyncio.create_task(self._requests(reader, there, writer, last))
            await self._replies(back, writer, last)
            forth.cancel()
            await asyncio.gather(forth, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        there: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        last: list[bytes],
    ) -> None:
        while data := await _read(reader):
            last[0] = data
            if self.silent:
                continue
            fate = self.request(data)
            if fate is Fate.HOLD:
                self.held.set()
                await self._open.wait()
            elif fate is Fate.DROP:
                continue
            elif fate is Fate.CUT:
                break
            there.write(data)
        with suppress(OSError):
            there.write_eof()

    async def _replies(
        self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, last: list[bytes]
    ) -> None:
        while data := await _read(back):
            fate = Fate.DROP if self.silent else self.reply(last[0])
            if fate is Fate.CUT:
                return
            if fate is Fate.HOLD:
                self.held.set()
                await self._open.wait()
            if fate is not Fate.DROP and not writer.is_closing():
                writer.write(data)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> bytes:
    with suppress(OSError):
        return await reader.read(CHUNK)
    return b""


@asynccontextmanager
async def gate(port: int) -> AsyncIterator[Gate]:
    made = Gate(port)
    server = await asyncio.start_server(made._accept, "127.0.0.1", 0, limit=CHUNK)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
