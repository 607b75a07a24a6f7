"""Frames by hand: sizes, fragments, close codes."""

from typing import Any

import pytest

from tools.harness.http import Api, problem
from tools.harness.process import Server
from tools.harness.raw import BINARY, PING, PONG, TEXT, raw_socket

pytestmark = pytest.mark.anyio


async def test_a_message_of_4096_bytes_is_taken(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.send(TEXT, b'{"type":"PING"}'.ljust(4096))
        await raw.message("PONG")


@pytest.mark.parametrize("size", [4097, 5 * 1024, 100_000])
async def test_a_larger_message_closes_with_1009(server: Server, size: int) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        await raw.send(TEXT, b'{"type":"PING"}'.ljust(size))
        assert await raw.closed() == 1009


async def test_a_larger_message_in_fragments_closes_with_1009(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        await raw.send(TEXT, b'{"type":"PING"}'.ljust(3000), fin=False)
        await raw.send(0, b" " * 1097)
        assert await raw.closed() == 1009


async def test_a_message_in_fragments_is_one_message(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.send(TEXT, b'{"type":', fin=False)
        await raw.send(PING, b"between")
        await raw.send(0, b'"PI', fin=False)
        await raw.send(0, b'NG"}')
        assert await raw.next(PONG) == b"between"
        await raw.message("PONG")


@pytest.mark.parametrize("payload", [b"", b"\x00\xff", b'{"type":"PING"}', b"x" * 3000], ids=len)
async def test_a_binary_frame_closes_with_1003(server: Server, payload: bytes) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        await raw.send(BINARY, payload)
        assert await raw.closed() == 1003


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b'{"type":"PING\xc3\x28"}', b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'"\xe2\x82'],
    ids=repr,
)
async def test_bad_utf_8_closes_with_1007(server: Server, payload: bytes) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        await raw.send(TEXT, payload)
        assert await raw.closed() == 1007


async def test_text_split_within_a_character_is_good_utf_8(server: Server) -> None:
    text = '{"type":"NO_SUCH_€"}'.encode()
    cut = text.index(b"\xe2") + 1
    async with raw_socket(server) as raw:
        await raw.send(TEXT, text[:cut], fin=False)
        await raw.send(0, text[cut:])
        assert (await raw.message("ERROR"))["code"] == "UNKNOWN_TYPE"


@pytest.mark.parametrize(
    "fault", ["unmasked", "reserved bit", "reserved opcode", "stray continuation", "big ping"]
)
async def test_a_frame_against_the_protocol_closes_with_1002(server: Server, fault: str) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        match fault:
            case "unmasked":
                await raw.send(TEXT, b'{"type":"PING"}', mask=False)
            case "reserved bit":
                await raw.send(TEXT, b'{"type":"PING"}', rsv=4)
            case "reserved opcode":
                await raw.send(3, b"")
            case "stray continuation":
                await raw.send(0, b"{}")
            case "big ping":
                await raw.send(PING, b"x" * 126)
        assert await raw.closed() == 1002


async def test_a_clients_ping_is_answered_with_its_payload(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.send(PING, b"payload")
        assert await raw.next(PONG) == b"payload"
        await raw.send(PONG, b"unasked for")
        await raw.alive()


async def test_no_compression_is_agreed_on(server: Server) -> None:
    async with raw_socket(server, {"Sec-WebSocket-Extensions": "permessage-deflate"}) as raw:
        assert raw.status == 101
        assert "sec-websocket-extensions" not in raw.headers
        await raw.alive()


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(["pollroom.v1"], "pollroom.v1"), (["other", "pollroom.v1"], "pollroom.v1"), (None, None)],
    ids=str,
)
async def test_the_subprotocol_is_optional(
    server: Server, offered: list[str] | None, agreed: str | None
) -> None:
    headers = {"Sec-WebSocket-Protocol": ", ".join(offered)} if offered else {}
    async with raw_socket(server, headers) as raw:
        assert (raw.status, raw.headers.get("sec-websocket-protocol")) == (101, agreed)
        await raw.alive()


async def test_a_get_without_an_upgrade_is_upgrade_required(api: Api) -> None:
    problem(await api.get("/ws"), "UPGRADE_REQUIRED")
    problem(await api.get("/ws?x=1"), "UPGRADE_REQUIRED")


@pytest.mark.parametrize(
    "path", ["/", "/wss", "/ws/x", "/polls", "/" + "x" * 3000], ids=lambda path: path[:8]
)
async def test_an_upgrade_elsewhere_is_refused(server: Server, path: str) -> None:
    async with raw_socket(server, path=path) as raw:
        assert 400 <= raw.status < 500


async def test_a_message_as_it_was_typed_is_taken(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.send(TEXT, b' \n{ "type" :\t"\\u0050ING" }\r\n')
        await raw.message("PONG")


async def test_messages_in_one_packet_are_answered_in_order(ws: Any) -> None:
    async with ws() as sock:
        for number in range(30):
            await sock.send({"type": "NO_SUCH_TYPE", "id": f"n{number}"})
        for _ in range(30):
            await sock.expect("ERROR")
        assert [frame["id"] for frame in sock.since(0, "ERROR")] == [f"n{number}" for number in range(30)]
