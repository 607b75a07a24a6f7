"""An answer to a refused body gets through, although the client is still sending."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import httpx
import pytest

from tools.harness.process import Server
from tools.harness.wire import wire

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SIZES = [6 * MIB, 30 * MIB]
CASES = {
    413: ("/auth/register", {"Content-Type": "application/json"}),
    415: ("/auth/register", {"Content-Type": "text/plain"}),
    401: ("/polls", {"Authorization": "Bearer no", "Content-Type": "application/json"}),
    405: ("/healthz", {}),
}


def head(path: str, fields: dict[str, str], size: int) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {size}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("close", [True, False], ids=["close", "keep-alive"])
@pytest.mark.parametrize("status", CASES)
async def test_a_client_that_reads_only_after_sending_sees_the_answer(
    server: Server, status: int, close: bool, size: int
) -> None:
    path, fields = CASES[status]
    async with wire(server) as connection:
        await connection.send(head(path, fields | ({"Connection": "close"} if close else {}), size))
        part = b"x" * MIB
        for _ in range(size // MIB):
            await connection.send(part)
        assert (await connection.answer()).status == status
        if close:
            assert await connection.ended() == b""
        else:
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await connection.answer()).status == 200


async def test_a_body_that_never_ends_is_not_read_for_ever(server: Server) -> None:
    path, fields = CASES[413]
    async with wire(server) as connection:
        await connection.send(head(path, fields, 10**12))
        assert (await connection.answer()).status == 413
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200:
                await connection.send(b"x" * MIB)
                sent += 1
        assert sent < 200


@pytest.mark.parametrize("sends", [True, False], ids=["sends the body", "keeps the body"])
async def test_expect_100_continue(server: Server, sends: bool) -> None:
    path, fields = CASES[413]
    async with wire(server) as connection:
        await connection.send(head(path, fields | {"Expect": "100-continue"}, 6 * MIB))
        if sends:
            for _ in range(6):
                await connection.send(b"x" * MIB)
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await connection.ended() == b""


async def test_expect_100_continue_of_a_body_that_is_taken(server: Server) -> None:
    async with wire(server) as connection:
        body = b'{"name":"Bo"}'
        fields = {"Content-Type": "application/json", "Expect": "100-continue"}
        await connection.send(head("/auth/guest", fields, len(body)))
        assert await connection.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(body)
        assert (await connection.answer()).status == 201


async def post_as_curl(url: str, path: str, fields: dict[str, str], size: int) -> int:
    """The status of the answer, read while the body is being sent; what cannot be sent after it is no error."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    try:
        writer.write(head(path, fields, size))
        if "Expect" in fields:
            await asyncio.wait([answer], timeout=1)
        for _ in range(size // MIB):
            if answer.done():
                break
            writer.write(b"x" * MIB)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        async with asyncio.timeout(30):
            return int((await answer).split()[1])
    finally:
        answer.cancel()
        writer.close()


@pytest.mark.parametrize("expect", [False, True], ids=["", "Expect: 100-continue"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("status", CASES)
async def test_a_client_that_reads_while_it_sends_sees_the_answer_through_a_proxy(
    proxy: str, status: int, size: int, expect: bool
) -> None:
    path, fields = CASES[status]
    headers = fields | ({"Expect": "100-continue"} if expect else {})
    for _ in range(3):
        found = await post_as_curl(proxy, path, headers, size)
        assert found == status or (expect and found == 100)


@pytest.mark.parametrize("expect", [False, True], ids=["", "Expect: 100-continue"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("status", CASES)
async def test_a_client_that_reads_only_after_sending_sees_it_through_nginx(
    nginx: str, status: int, size: int, expect: bool
) -> None:
    path, fields = CASES[status]
    headers = fields | ({"Expect": "100-continue"} if expect else {})
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(3):
            answer = await client.post(nginx + path, content=b"x" * size, headers=headers)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
