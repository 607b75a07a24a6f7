"""The time limit for the head of a request, on uvicorn's own protocol class."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from uvicorn import Config
from uvicorn.server import ServerState

from app.http import uvicorn_protocol
from app.http.uvicorn_protocol import PollroomHttpProtocol


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
async def test_an_unfinished_head_closes_the_connection(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.1)
    config = Config(PlainTextResponse("ok"), lifespan="off")
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: PollroomHttpProtocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
