"""RFC 6455 by raw bytes. Each case goes in one segment and byte by byte; a good one ends with a close in the same bytes."""

import struct
from typing import Any

import pytest

from tests.websocket.cases import CASES, OWN, TAKEN, sized
from tests.websocket.wire import TEXT, Wire, close, echoed, frame, told, upgrade
from tools.harness.process import Server


def parted(sent: bytes) -> list[bytes]:
    return [sent[at : at + 1] for at in range(len(sent))]


def ends(expected: list[Any]) -> bool:
    last = expected[-1][0] if isinstance(expected[-1], tuple) else expected[-1]
    return isinstance(last, int) or (isinstance(last, bytes) and last[0] == 0x88)


@pytest.mark.parametrize(
    ("name", "bytewise"),
    [
        pytest.param(name, bytewise, id=f"{name} - {'byte by byte' if bytewise else 'in one segment'}")
        for name, (sent, _) in CASES.items()
        for bytewise in (False, True)
        if not bytewise or len(sent) < 120
    ],
)
def test_rfc_6455(server: Server, name: str, bytewise: bool) -> None:
    sent, expected = CASES[name]
    if not ends(expected):
        sent, expected = sent + close(1000), [*expected, echoed(1000)]
    got: list[Any] = []
    with Wire(server) as wire:
        assert (wire.status, told(wire.next() or b"")) == (101, "WELCOME")
        if bytewise:
            wire.send_apart(parted(sent))
        else:
            wire.send(sent)
        while (found := wire.next()) is not None:
            got.append(told(found))
            if found[0] == 0x88:
                wanted = expected[-1] if isinstance(expected[-1], tuple) else (expected[-1],)
                if isinstance(wanted[0], int):
                    wire.done()
                    got[-1] = struct.unpack(">H", found[2:4])[0]
                if got[-1] in wanted:
                    got[-1] = expected[-1]
    assert got == expected


def test_a_frame_may_be_cut_anywhere(server: Server) -> None:
    """The masking key looks like a frame of its own."""
    whole = frame(TEXT, sized(130), key=b"\x81\x80\x81\x80")
    with Wire(server) as wire:
        assert told(wire.next() or b"") == "WELCOME"
        for cut in (*range(1, 16), len(whole) - 1):
            wire.send_apart([whole[:cut], whole[cut:]])
            assert told(wire.next() or b"") == TAKEN, cut
            wire.send_apart([OWN + whole[:cut], whole[cut:] + OWN])
            assert [told(wire.next() or b"") for _ in range(3)] == [TAKEN] * 3, cut
        wire.send(close(1000))
        assert (wire.next(), wire.next()) == (echoed(1000), None)


def test_the_key_of_the_rfc_is_accepted_as_the_rfc_says(server: Server) -> None:
    with Wire(server) as wire:
        assert wire.status == 101
        assert wire.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (wire.headers["upgrade"].lower(), wire.headers["connection"].lower()) == (
            "websocket",
            "upgrade",
        )
        assert "sec-websocket-extensions" not in wire.headers


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        pytest.param({"Upgrade": "WebSocket"}, 101, id="names in any case"),
        pytest.param({"Connection": "keep-alive, Upgrade"}, 101, id="Upgrade among other options"),
        pytest.param({"Sec_WebSocket_Extensions": "permessage-deflate; x"}, 101, id="an extension not known"),
        pytest.param({"Sec_WebSocket_Key": None}, 400, id="no key"),
        pytest.param({"Sec_WebSocket_Key": ""}, 400, id="an empty key"),
        pytest.param({"Sec_WebSocket_Key": "not base64!"}, 400, id="a key that is not base64"),
        pytest.param({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, id="a key of 5 bytes"),
        pytest.param({"Sec_WebSocket_Key": "a\r\nSec-WebSocket-Key: b"}, 400, id="two keys"),
        pytest.param({"Sec_WebSocket_Version": None}, 400, id="no version"),
        pytest.param({"Sec_WebSocket_Version": "12"}, 426, id="version 12"),
        pytest.param({"Sec_WebSocket_Version": "14"}, 426, id="version 14"),
        pytest.param({"Upgrade": None}, 426, id="no upgrade"),
        pytest.param({"Upgrade": "h2c"}, 426, id="another upgrade"),
        pytest.param({"Connection": "keep-alive"}, 426, id="a connection that is kept"),
        pytest.param({"first": "POST /ws HTTP/1.1"}, 405, id="POST"),
    ],
)
def test_upgrade(server: Server, changed: dict[str, str | None], status: int) -> None:
    with Wire(server, upgrade(**changed)) as wire:
        assert wire.status == status
        assert "sec-websocket-extensions" not in wire.headers
        if changed.get("Sec_WebSocket_Version", "13") in ("12", "14"):
            assert wire.headers["sec-websocket-version"] == "13"
