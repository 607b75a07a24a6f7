"""A connection that ends between two commands is silence, whatever the event loop calls it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from app.adapters.redis.connection.client import SILENT, connect
from app.adapters.redis.connection.pipe import Pipe

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


def test_a_command_on_a_transport_that_is_closed_already_is_silence(run: Run, redis_server_url: str) -> None:
    async def work() -> None:
        client = connect(redis_server_url)
        try:
            connection = client.connection_pool.make_connection()
            await connection.connect()
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(SILENT):
                await connection.send_command("PING")
                await connection.read_response()
            await connection.disconnect(nowait=True)
            assert await client.ping()
        finally:
            await client.aclose()

    run(work())


def test_ballots_on_a_transport_that_is_closed_already_are_silence_and_then_go_over_a_new_one(
    run: Run, redis_server_url: str
) -> None:
    async def work() -> None:
        client = connect(redis_server_url)
        pipe = Pipe(client, "any")
        try:
            assert await pipe.send([b"*1\r\n$4\r\nPING\r\n"]) == [b"PONG"]
            pipe._connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(SILENT):
                await pipe.send([b"*1\r\n$4\r\nPING\r\n"])
            assert await pipe.send([b"*1\r\n$4\r\nPING\r\n"]) == [b"PONG"]
        finally:
            await pipe.close()
            await client.aclose()

    run(work())
