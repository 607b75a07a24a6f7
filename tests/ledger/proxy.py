"""A TCP proxy between the ledger and Redis that loses, delays and cuts on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Proxy:
    """``url``: of the proxy. A chunk is what one read brought: for small messages, one message or pipeline.

    - ``swallow``: that many replies to come get lost; ``swallowed`` is set by each.
    - ``cut``: asked at each reply; true ends the client's connection in its place, after Redis has executed.
    - ``silence()``: whatever is sent gets lost, on connections that are open and on those to come, until ``speak()``;
      ``lost`` is set by it. ``mute()``: likewise for good, on those alone that are open.
    - ``pause()``: requests wait in the proxy; ``resume()`` delivers them, also those of clients that are gone by then.
      ``held`` is set by the first. ``hold_first()``: likewise, but that one alone waits; ``delivered`` is set when Redis
      has answered it, or had ended that connection before.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._silent = False
        self._mute = 0
        self.connections = 0
        self.swallow = 0
        self.swallowed = asyncio.Event()
        self.cuts = 0
        self.cut: Callable[[], bool] = lambda: False
        self.lost = asyncio.Event()
        self.held = asyncio.Event()
        self.delivered = asyncio.Event()
        self._hold_first = False
        self._stuck: set[asyncio.StreamWriter] = set()
        self._ended: set[int] = set()
        self.url = ""

    def pause(self) -> None:
        self.held.clear()
        self._open.clear()

    def hold_first(self) -> None:
        self.pause()
        self._hold_first = True

    def resume(self) -> None:
        self._open.set()

    def silence(self) -> None:
        self._silent = True
        self.lost.clear()

    def mute(self) -> None:
        self._mute = self.connections

    def speak(self) -> None:
        self._silent = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Python 3.11 complains of a handler that was cancelled.
            with suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(number, reader, there))
                group.create_task(self._replies(number, back, there, writer))
        except* OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    end.close()
                    with suppress(OSError):
                        await end.wait_closed()

    async def _requests(self, number: int, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        while data := await _read(reader):
            if self._silent or number <= self._mute:
                self.lost.set()
                continue
            if not self._open.is_set() and (not self._hold_first or not self.held.is_set()):
                self.held.set()
                await self._open.wait()
                self._stuck.add(there)
                if number in self._ended:
                    self.delivered.set()
            there.write(data)
        there.write_eof()

    async def _replies(
        self,
        number: int,
        back: asyncio.StreamReader,
        there: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await _read(back):
            if there in self._stuck:
                self.delivered.set()
            if self._silent or number <= self._mute:
                self.lost.set()
                continue
            if self.swallow > 0:
                self.swallow -= 1
                self.swallowed.set()
            elif self.cut():
                self.cuts += 1
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(data)
        self._ended.add(number)
        writer.close()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Empty at the end, also where the other side was rude."""
    try:
        return await reader.read(CHUNK)
    except OSError:
        return b""


@asynccontextmanager
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(redis_url)
    assert parts.hostname and parts.port
    made = Proxy(parts.hostname, parts.port)
    server = await asyncio.start_server(made._accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made.url = parts._replace(netloc=f"127.0.0.1:{port}").geturl()
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
