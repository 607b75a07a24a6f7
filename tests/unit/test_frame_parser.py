"""Client frames, cut anywhere, become the same messages; a broken frame closes the connection with its code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.close_codes import CloseCode
from app.websocket.frame_parser import BINARY, CONT, FIN, MASKED, PING, TEXT, BadFrame, Frames

LARGEST = 70_000


def frame(first: int, payload: bytes, mask: bytes = b"\x01\x80\xff\x33") -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([MASKED | size])
    elif size < 65536:
        length = bytes([MASKED | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([MASKED | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(payload))


@given(st.lists(st.integers(0, 450), max_size=6))
def test_messages_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int]) -> None:
    data = b"".join(
        [
            frame(FIN | TEXT, b"first"),
            frame(TEXT, b"in "),
            frame(FIN | PING, b"between"),
            frame(CONT, b"three "),
            frame(FIN | CONT, b"parts"),
            frame(FIN | BINARY, bytes(range(256)) + b"long"),
        ]
    )
    frames, found, start = Frames(LARGEST), [], 0
    for end in [*sorted(cuts), len(data)]:
        found += frames.read(data[start:end])
        start = max(start, end)
    assert found == [
        (TEXT, b"first"),
        (PING, b"between"),
        (TEXT, b"in three parts"),
        (BINARY, bytes(range(256)) + b"long"),
    ]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, LARGEST])
def test_each_form_of_the_length_is_read(size: int) -> None:
    assert list(Frames(LARGEST).read(frame(FIN | BINARY, bytes(size)))) == [(BINARY, bytes(size))]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x05hello", CloseCode.PROTOCOL_ERROR, id="not masked"),
        pytest.param(frame(FIN | 0x40 | TEXT, b""), CloseCode.PROTOCOL_ERROR, id="reserved bit"),
        pytest.param(frame(FIN | 3, b""), CloseCode.PROTOCOL_ERROR, id="unknown opcode"),
        pytest.param(frame(PING, b""), CloseCode.PROTOCOL_ERROR, id="fragmented ping"),
        pytest.param(frame(FIN | PING, bytes(126)), CloseCode.PROTOCOL_ERROR, id="long ping"),
        pytest.param(frame(FIN | CONT, b""), CloseCode.PROTOCOL_ERROR, id="continues nothing"),
        pytest.param(
            frame(TEXT, b"") + frame(FIN | TEXT, b""),
            CloseCode.PROTOCOL_ERROR,
            id="text in a fragmented text",
        ),
        pytest.param(b"\x81\xfe\x00\x05", CloseCode.PROTOCOL_ERROR, id="length longer than needed"),
        pytest.param(b"\x81\xff" + (LARGEST + 1).to_bytes(8, "big"), CloseCode.MESSAGE_TOO_BIG, id="too big"),
        pytest.param(
            frame(TEXT, bytes(LARGEST)) + frame(FIN | CONT, b"1"),
            CloseCode.MESSAGE_TOO_BIG,
            id="fragments too big together",
        ),
    ],
)
def test_a_broken_frame_has_its_close_code(data: bytes, code: CloseCode) -> None:
    with pytest.raises(BadFrame) as caught:
        list(Frames(LARGEST).read(data))
    assert caught.value.code == code
