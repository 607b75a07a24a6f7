"""What a connection leaves behind: nothing that only a full garbage collection finds, since those hardly ever come."""

import asyncio
import gc

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.server import ServerProtocol

from app.http.uvicorn_protocol import PollroomHttpProtocol
from app.websocket.codec import text_frame
from app.websocket.uvicorn_protocol import PollroomProtocol
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio


class Echo:
    """Bound to its wire both ways, as a socket of the app is."""

    direct = -1
    identity = None

    def __init__(self, wire: PollroomProtocol) -> None:
        self.wire = wire
        wire.listener = self

    def on_message(self, data: bytes) -> None:
        self.wire.write(text_frame(data))

    def drain(self) -> None:
        pass


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    Echo(scope["extensions"]["pollroom.wire"]())
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def left() -> int:
    return sum(
        type(one) in (PollroomHttpProtocol, PollroomProtocol, ServerProtocol) for one in gc.get_objects()
    )


async def test_a_socket_that_is_gone_is_freed_without_the_garbage_collector() -> None:
    config = uvicorn.Config(
        echo,
        http=PollroomHttpProtocol,
        ws=PollroomProtocol,
        port=0,
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started, bool)
    port = server.servers[0].sockets[0].getsockname()[1]
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket:
                await socket.send("text")
                assert await socket.recv() == "text"
        await eventually(left, lambda n: n == 0)
    finally:
        gc.enable()
        server.should_exit = True
        await serving
