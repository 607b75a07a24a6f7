"""Serve a web process with uvicorn, and stop without losing a vote or a client.

On SIGTERM or Ctrl-C the process becomes not ready and refuses new sockets, closes sockets with 1012 in batches after
answering their pending ballots, stores the vote log, and exits. A second signal exits immediately.
"""

import asyncio
import gc
import logging
import random
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import FrameType

import uvicorn

from ..domain.close_codes import CloseCode
from ..http.edge import Edge
from ..http.uvicorn_protocol import PollroomHttpProtocol
from ..utils import logger
from ..utils.connection_table import ConnectionTable
from ..websocket.socket import MAX_MESSAGE_BYTES
from ..websocket.uvicorn_protocol import PollroomProtocol
from .startup import StartError
from .web import Web

CLOSED_A_SECOND = 500
BATCH_SECONDS = 0.1
BALLOTS_SECONDS = 4.0
ANSWERS_SECONDS = 0.01
STORE_SECONDS = 5.0
REQUESTS_SECONDS = 5
COLLECT = (50_000, 20, 100)
HTTP_CONNECTIONS = 4000
"""Beside MAX_SOCKETS."""
RESERVED_FILES = 100
"""File descriptors kept for everything but clients: the stores, image processes, the log."""
FEWEST_CONNECTIONS = 16
REQUEST_SECONDS = 300.0

_log = logger.get(__name__)


class _Server(uvicorn.Server):
    """``drain`` runs at the first signal; uvicorn goes down only after it."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], listening: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._listening = listening
        self._draining: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn logs what cannot be bound without a setting's name, and ends the process.
        library = logging.getLogger("uvicorn.error")
        library.disabled = True
        try:
            await super().startup(sockets)
        except SystemExit as ended:
            raise StartError(f"HOST, PORT: {ended.__context__}") from None
        finally:
            library.disabled = False
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                self._listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._signalled)

    def _signalled(self) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._go_down())
        else:
            self.should_exit = self.force_exit = True

    async def _go_down(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True


def allow_sockets() -> None:
    """Each socket is a file: the usual soft limit of 1,024 is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connection_limit(max_sockets: int) -> int:
    """Client connections of this process: as many as file descriptors allow. Running out of them would stop every accept."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max_sockets + HTTP_CONNECTIONS
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft - RESERVED_FILES)
    return max(limit, FEWEST_CONNECTIONS)


async def serve(web: Web, listening: Callable[[str], None]) -> None:
    """Until a signal. ``listening`` is told each address once it takes connections. ``StartError`` where it cannot."""
    settings = web.stores.settings
    allow_sockets()

    async def drain() -> None:
        web.readiness.draining = True
        web.registry.draining = True
        await close_sockets(web, settings.drain_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(BALLOTS_SECONDS):
                await web.stores.ledger.batcher.drain()
        if web.worker is not None:
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    await web.worker.drain()
            except Exception as error:
                _log.warning("the log was not stored whole; the next start does", error=repr(error)[:200])

    edge = Edge(
        ConnectionTable(connection_limit(settings.max_sockets)),
        settings.allowed_hosts,
        settings.head_seconds,
        settings.keep_alive_seconds,
        # A long-polling Socket.IO client waits for the next ping.
        max(REQUEST_SECONDS, 2 * settings.ping_interval),
        settings.discard_seconds,
    )
    web.figures.connections = edge.table
    web.figures.loop_lag.start()
    config = uvicorn.Config(
        web.app,
        host=settings.host,
        port=settings.port,
        http=partial(PollroomHttpProtocol, edge=edge),  # type: ignore[arg-type]
        ws=PollroomProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=settings.ping_interval,
        ws_ping_timeout=settings.ping_interval,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=REQUESTS_SECONDS,
        backlog=4096,
    )
    # Thousands of sockets are long-lived objects: each full collection would walk them all, and nearly nothing of ours
    # is cyclic.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        await _Server(config, drain, listening).serve()
    finally:
        web.figures.loop_lag.stop()


async def close_sockets(web: Web, seconds: float) -> None:
    """Tell every socket 1012, spread so that they do not all come back at once; in less time where they are few.

    Each is read no more, and gets the answers to its ballots on their way, before it is told.
    """
    until = time.monotonic() + BALLOTS_SECONDS
    connections = list(web.registry.connections)
    random.shuffle(connections)
    batch = max(
        int(CLOSED_A_SECOND * BATCH_SECONDS),
        int(len(connections) * BATCH_SECONDS / max(seconds, BATCH_SECONDS)),
    )
    for start in range(0, len(connections), batch):
        if start:
            await asyncio.sleep(BATCH_SECONDS)
        leaving = connections[start : start + batch]
        for connection in leaving:
            connection.pause_reading()
        while any(connection.in_flight for connection in leaving) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(ANSWERS_SECONDS)
        for connection in leaving:
            web.registry.end(connection, CloseCode.RESTART)


def until_signalled() -> asyncio.Event:
    """Set by SIGTERM or Ctrl-C, for processes that do not serve."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event
