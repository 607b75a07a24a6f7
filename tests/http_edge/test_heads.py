"""Limits on a request's head, and on what a chunked body carries beside its data."""

import contextlib

import pytest

from tools.harness.process import Server
from tools.harness.wire import Answer, exchange, wire

pytestmark = pytest.mark.anyio

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /auth/guest HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def refused(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert (answer.document["status"], answer.document["code"]) == (status, code)


def padded(head: bytes, size: int) -> bytes:
    """``head`` with its end, ``size`` bytes in all."""
    return head + b"X-Pad: " + b"x" * (size - len(head) - len("X-Pad: \r\n\r\n")) + b"\r\n\r\n"


async def test_a_head_of_32_kib_is_served_and_a_larger_one_is_refused(server: Server) -> None:
    assert (await exchange(server, padded(GET, 32 * 1024))).status == 200
    refused(await exchange(server, padded(GET, 32 * 1024 + 1)), 431, "TOO_LARGE")


async def test_a_head_of_100_fields_is_served_and_one_more_is_refused(server: Server) -> None:
    assert (await exchange(server, GET + b"a: b\r\n" * 99 + b"\r\n")).status == 200
    refused(await exchange(server, GET + b"a: b\r\n" * 100 + b"\r\n"), 431, "TOO_LARGE")


@pytest.mark.parametrize(
    "endless",
    [
        GET + b"X-Pad: ",
        GET + b"x",
        b"GET /",
        b"\r\n",
        CHUNKED + b"1;",
        CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: ",
    ],
    ids=["value", "name", "path", "blank lines", "chunk extension", "trailer"],
)
async def test_an_endless_part_is_refused_before_it_is_gathered(server: Server, endless: bytes) -> None:
    async with wire(server) as connection:
        await connection.send(endless)
        filler = b"\r\n" * 4096 if endless == b"\r\n" else b"x" * 8192
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 and not connection.reader._buffer:  # type: ignore[attr-defined]
                await connection.send(filler)
                sent += 1
        refused(await connection.answer(), 431, "TOO_LARGE")


async def test_many_trailers_are_refused_and_the_few_are_dropped(server: Server) -> None:
    many = b"".join(b"t%d: 1\r\n" % index for index in range(10_000))
    refused(await exchange(server, CHUNKED + b"2\r\n{}\r\n0\r\n" + many + b"\r\n"), 431, "TOO_LARGE")
    few = CHUNKED + b"2\r\n{}\r\n0\r\nAuthorization: Bearer no\r\nHost: b\r\n\r\n"
    assert (await exchange(server, few)).status == 201


async def test_heads_and_bodies_in_pieces_of_any_size(server: Server) -> None:
    requests = (
        GET
        + b"\r\n"
        + CHUNKED
        + b"2;a=b\r\n{}\r\n0\r\n\r\n"
        + POST
        + b"Content-Length: 2\r\n\r\n{}"
        + GET
        + b"\r\n"
    )
    for size in (1, 2, 3, 5, 7, 61, len(requests)):
        async with wire(server) as connection:
            for start in range(0, len(requests), size):
                await connection.send(requests[start : start + size])
            statuses = [(await connection.answer()).status for _ in range(4)]
            assert statuses == [200, 201, 201, 200], size


async def test_thousands_of_pipelined_requests_are_answered_in_order(server: Server) -> None:
    paths = [b"/healthz", b"/nothing"] * 1000
    async with wire(server) as connection:
        await connection.send(b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths))
        for path in paths:
            assert (await connection.answer()).status == (200 if path == b"/healthz" else 404)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: a\n\n",
        b"GET /healthz HTTP/3.7\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        CHUNKED + b"zz\r\n",
    ],
)
async def test_a_malformed_request_is_answered_with_a_problem_document(
    server: Server, request_: bytes
) -> None:
    refused(await exchange(server, request_), 400, "BAD_MESSAGE")


async def test_http_1_0_needs_no_host(server: Server) -> None:
    assert (await exchange(server, b"GET /healthz HTTP/1.0\r\n\r\n")).status == 200


async def test_a_malformed_request_waits_for_the_answers_before_it(server: Server) -> None:
    async with wire(server) as connection:
        await connection.send(GET + b"\r\n" + GET + b"\r\n" + b"nonsense\r\n\r\n")
        assert [(await connection.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await connection.ended() == b""


@pytest.mark.parametrize("protocol", [b"h2c", b"foo", b"TLS/1.0, HTTP/1.1"])
async def test_another_protocol_is_ignored_and_the_body_is_read(server: Server, protocol: bytes) -> None:
    head = (
        POST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "
        + protocol
        + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    )
    inner = b'{"name":"GET /nothing HTTP/1.1"}'
    smuggled = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    async with wire(server) as connection:
        await connection.send(head + b"Content-Length: %d\r\n\r\n" % len(inner) + inner)
        answer = await connection.answer()
        assert (answer.status, answer.document["user"]["name"]) == (201, "GET /nothing HTTP/1.1")
        await connection.send(head + b"Content-Length: %d\r\n\r\n" % len(smuggled))
        await connection.send(smuggled)
        refused_body = await connection.answer()
        assert (refused_body.status, refused_body.document["code"]) == (400, "BAD_MESSAGE")
        await connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert (await connection.answer()).status == 201
        await connection.send(GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        assert (await connection.answer()).status == 200


async def test_a_websocket_upgrade_with_large_headers_is_served(server: Server) -> None:
    cookie = b"Cookie: " + b"c" * 20_000 + b"\r\n"
    protocols = b"Sec-WebSocket-Protocol: " + b"x" * 9000 + b", pollroom.v1\r\n"
    for extra in (
        cookie,
        b"".join(b"x-%d: y\r\n" % index for index in range(90)),
        protocols,
        b"Content-Length: 0\r\n",
    ):
        answer = await exchange(server, UPGRADE + extra + b"\r\n")
        assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    long_path = UPGRADE.replace(b"/ws", b"/ws?x=" + b"y" * 20_000)
    assert (await exchange(server, long_path + b"\r\n")).status == 101


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"Cookie: " + b"c" * 40_000 + b"\r\n", 431),
        (b"a: b\r\n" * 129, 431),
        (b"Content-Length: 5\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", 400),
        (b"Host: b\r\n", 400),
    ],
)
async def test_a_websocket_upgrade_outside_the_limits_is_answered_and_ended(
    server: Server, extra: bytes, status: int
) -> None:
    async with wire(server) as connection:
        await connection.send(UPGRADE + extra + b"\r\n")
        refused(await connection.answer(), status, "TOO_LARGE" if status == 431 else "BAD_MESSAGE")
        assert await connection.ended() == b""


@pytest.mark.parametrize(
    "changed",
    [
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
    ],
    ids=["HTTP/1.0", "no Connection"],
)
async def test_what_is_no_upgrade_is_an_ordinary_request(server: Server, changed: bytes) -> None:
    answer = await exchange(server, changed + b"\r\n")
    assert (answer.status, answer.document["code"]) == (426, "UPGRADE_REQUIRED")


async def test_a_websocket_upgrade_by_post_is_an_ordinary_request(server: Server) -> None:
    assert (await exchange(server, UPGRADE.replace(b"GET", b"POST") + b"\r\n")).status == 405


async def test_a_handshake_without_a_usable_key_is_answered(server: Server) -> None:
    for key in (b"", b"k" * 20_000, b"a\r\nSec-WebSocket-Key: b"):
        head = UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", key) + b"\r\n"
        answer = await exchange(server, head)
        assert (answer.status, answer.document["code"]) == (400, "BAD_MESSAGE")
