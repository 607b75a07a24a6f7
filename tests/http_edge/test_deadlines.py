"""Every state of every connection ends: by its deadline, or by the limit of connections."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import psutil
import pytest

from tools.harness.http import Api
from tools.harness.process import Server, serving
from tools.harness.raw import TEXT, raw_socket
from tools.harness.wire import Wire, exchange, wire

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = b"POST /auth/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
FILES = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Deadlines of a second."""
    settings = {"HEAD_SECONDS": "1", "KEEP_ALIVE_SECONDS": "1", "DISCARD_SECONDS": "1"}
    with serving(tmp_path_factory.mktemp("deadlines"), settings) as found:
        yield found


@pytest.mark.parametrize(
    ("sent", "status", "then"),
    [
        (b"", None, b""),
        (GET[:20], None, b""),
        (GET, 200, b""),
        (GET, 200, b"\r\n"),
        (GET, 200, b"G"),
        (GET, 200, GET[:20]),
        (LARGE, 413, b""),
        (LARGE, 413, b"x"),
        (CHUNKED, 404, b"5\r\nab"),
        (CHUNKED + b"1\r\na\r\n", 404, b"0\r\nX-Trailer: "),
        (b"nonsense\r\n\r\n", 400, b"x"),
    ],
    ids=[
        "silent",
        "half a head",
        "idle after an answer",
        "blank line after an answer",
        "stray byte after an answer",
        "half a head after an answer",
        "no body after 413",
        "a body byte after 413",
        "half a chunk after an answer",
        "half a trailer after an answer",
        "a byte after a malformed request",
    ],
)
async def test_every_state_of_a_connection_has_a_deadline(
    server: Server, sent: bytes, status: int | None, then: bytes
) -> None:
    async with wire(server) as connection:
        if sent:
            await connection.send(sent)
        if status is not None:
            assert (await connection.answer()).status == status
        if then:
            await connection.send(then)
        await connection.ended(15)


async def test_a_byte_now_and_then_does_not_extend_a_deadline(server: Server) -> None:
    async with wire(server) as connection:

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await connection.send(b"\r\n")
                    await asyncio.sleep(0.2)

        async with asyncio.TaskGroup() as group:
            dripping = group.create_task(drip())
            await connection.ended(15)
            dripping.cancel()


async def test_a_peer_that_does_not_read_its_answers_is_ended(server: Server) -> None:
    """Its socket must not outlive the keep-alive time, though the server still holds bytes for it."""
    async with wire(server) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(3):
                while True:
                    await connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
        found = psutil.Process(server.processes[0].pid)
        port = connection.writer.get_extra_info("sockname")[1]

        async with asyncio.timeout(60):
            while any(end.raddr and end.raddr.port == port for end in found.net_connections("tcp")):
                await asyncio.sleep(0.1)


async def test_connections_that_end_before_their_answer_are_no_errors(server: Server) -> None:
    register = (
        b"POST /auth/guest HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    for _ in range(20):
        for data in (
            register + b"{}",
            register,
            register + b"{",
            GET * 50,
            upgrade,
            register + b"{}nonsense\r\n\r\n",
        ):
            for rest in (None, "reset", "half"):
                async with wire(server) as connection:
                    await connection.send(data)
                    if rest == "half":
                        connection.writer.write_eof()
                    elif rest is None:
                        connection.writer.close()
                    await asyncio.sleep(0)
    assert (await exchange(server, GET)).status == 200
    log = server.log()
    assert "Traceback" not in log and "unexpected" not in log, log[-4000:]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As deployed with 300 file descriptors."""
    with serving(tmp_path_factory.mktemp("small"), files=FILES) as found:
        yield found


async def test_300_file_descriptors_and_a_flood_shut_out_nobody(small: Server) -> None:
    async with AsyncExitStack() as stack, Api(small) as api:
        person = await api.guest()
        voter = await stack.enter_async_context(raw_socket(small))
        await voter.message("WELCOME")
        await voter.send(TEXT, json.dumps({"type": "AUTH", "token": person.token}).encode())
        await voter.message("AUTHENTICATED")
        flood: list[Wire] = []
        for index in range(2 * FILES):
            connection = await stack.enter_async_context(wire(small))
            flood.append(connection)
            await connection.send(GET[:20] if index % 2 else b"\r\n")
            if index % 50 == 0:
                for local in ("127.0.0.1", "127.0.0.2"):
                    async with wire(small, local) as other:
                        await other.send(GET)
                        assert (await other.answer()).status == 200
        # The oldest of the flood went; the known user, who has been idle for longer, did not.
        assert await flood[0].ended(5) == b""
        await voter.alive()
        metrics = (await exchange(small, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).body.decode()
        figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
        assert float(figures["pollroom_connections_dropped_total"]) > 0
        assert float(figures["pollroom_connections"]) <= float(figures["pollroom_connections_limit"]) < FILES


async def test_the_address_with_most_connections_makes_room(small: Server) -> None:
    async with AsyncExitStack() as stack:
        quiet = await stack.enter_async_context(wire(small, "127.0.0.3"))
        await quiet.send(GET[:20])
        for _ in range(FILES):
            await stack.enter_async_context(wire(small, "127.0.0.4"))
        await quiet.send(GET[20:])
        assert (await quiet.answer()).status == 200


async def test_one_user_with_all_connections_shuts_out_nobody(small: Server) -> None:
    async with AsyncExitStack() as stack, Api(small) as api:
        token = (await api.guest()).token
        request = f"GET /polls HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for index in range(2 * FILES):
            connection = await stack.enter_async_context(wire(small))
            await connection.send(request)
            await connection.answer()
            if index % 50 == 0:
                async with wire(small) as other:
                    await other.send(GET)
                    assert (await other.answer()).status == 200
