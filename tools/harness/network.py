"""Faults between a process and Redis, and clocks that are wrong."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

from tools.servers import RedisServer, faketime_library


class Proxy:
    """TCP in front of Redis. A connection that said SUBSCRIBE can go silent: open at both ends, nothing passes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.subscribers = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def silence(self) -> None:
        """From now on subscribers, old and new, hear nothing and are not heard."""
        self._passing.clear()

    def speak(self) -> None:
        self._passing.set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            far, upstream = await asyncio.open_connection("127.0.0.1", self._port)
            state = {"subscriber": False}
            back = asyncio.create_task(self._pass(far, writer, state))
            try:
                await self._pass(reader, upstream, state)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        except OSError:
            pass
        except asyncio.CancelledError:
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: dict[str, bool]
    ) -> None:
        while data := await reader.read(65536):
            if b"\r\nSUBSCRIBE\r\n" in data and not state["subscriber"]:
                state["subscriber"] = True
                self.subscribers += 1
            if state["subscriber"]:
                await self._passing.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(redis: RedisServer) -> AsyncIterator[Proxy]:
    async with Proxy(redis.port) as found:
        yield found


@contextlib.contextmanager
def stopped(redis: RedisServer) -> Iterator[None]:
    """Redis as by SIGSTOP: connections stand, nobody answers."""
    redis.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def killed(redis: RedisServer) -> Iterator[None]:
    """Redis gone by SIGKILL; at the end it runs again on the same data and port."""
    redis.kill()
    try:
        yield
    finally:
        redis.start()


def shifted(offset: str) -> dict[str, str]:
    """Variables of a process whose wall clock is off by ``offset`` (``+30d``, ``-7m``) and whose monotonic clock is not.

    Raises ``Missing``.
    """
    return {"LD_PRELOAD": faketime_library(), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
