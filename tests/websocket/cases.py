"""What is sent and what must come back, in the groups of the Autobahn test suite: framing, pings, reserved bits and
opcodes, fragments, UTF-8 and limits, closing. Where the contract names a close code, that one.
"""

from typing import Any

from tests.websocket.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, echoed, frame, pong

MESSAGE = b'{"type":"A"}'
TAKEN = "UNKNOWN_TYPE"
"""The answer to ``MESSAGE``: what was read is shown by an error that needs no state."""
EURO = '{"type":"€"}'.encode()
CUT = EURO.index(b"\xe2") + 1

Case = tuple[bytes, list[Any]]
CASES: dict[str, Case] = {}
"""Name -> what is sent, what comes back: codes of messages, frames as bytes, the code of a close with any reason."""

OWN = frame(TEXT, MESSAGE)


def sized(size: int) -> bytes:
    return MESSAGE.ljust(size)


def fragments(text: bytes, size: int) -> bytes:
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return b"".join(
        frame(CONT if index else TEXT, part, fin=index == len(parts) - 1) for index, part in enumerate(parts)
    )


# Framing
CASES["an empty text is a message"] = frame(TEXT), ["BAD_MESSAGE"]
for size in (12, 125, 126, 127, 128, 4095, 4096):
    CASES[f"a text of {size} bytes is taken"] = frame(TEXT, sized(size)), [TAKEN]
for size in (4097, 65535, 65536):
    CASES[f"a text of {size} bytes is too large"] = frame(TEXT, sized(size)), [1009]
for size, length in ((12, 2), (12, 8), (126, 8), (125, 2)):
    long_way = frame(TEXT, sized(size), length=length)
    CASES[f"a length of {size} in {length} bytes is longer than needed"] = OWN + long_way, [TAKEN, 1002]
CASES["a length of a ping in 2 bytes is longer than needed"] = frame(PING, b"x", length=2), [1002]
CASES["a length of 2^63 is none"] = b"\x81\xff\x80" + b"\0" * 7 + OWN, [(1002, 1009)]
CASES["a length of 2^63 - 1 is too large"] = b"\x81\xff\x7f" + b"\xff" * 7 + OWN, [1009]
CASES["a masking key of zeros is one"] = frame(TEXT, MESSAGE, key=bytes(4)), [TAKEN]
CASES["frames in one segment are answered in order"] = (
    OWN + frame(PING, b"1") + frame(TEXT) + frame(PING, b"2") + OWN + OWN,
    [TAKEN, pong(b"1"), "BAD_MESSAGE", pong(b"2"), TAKEN, TAKEN],
)
for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE)):
    CASES[f"a {name} frame must be masked"] = OWN + frame(opcode, b"", key=None), [TAKEN, 1002]
CASES["a binary frame closes with 1003"] = OWN + frame(BINARY, b"\0\xff") + OWN, [TAKEN, 1003]
CASES["a binary message in fragments closes with 1003"] = (
    frame(BINARY, b"\0", fin=0) + frame(CONT, b"\xff") + OWN,
    [1003],
)

# Pings and pongs
for size in (0, 1, 125):
    CASES[f"a ping of {size} bytes is answered alike"] = frame(PING, b"\xfe" * size), [pong(b"\xfe" * size)]
CASES["a ping of 126 bytes is too long"] = OWN + frame(PING, b"x" * 126), [TAKEN, 1002]
CASES["each of ten pings is answered"] = (
    b"".join(frame(PING, b"%d" % number) for number in range(10)),
    [pong(b"%d" % number) for number in range(10)],
)
CASES["a pong that nobody asked for is passed over"] = frame(PONG, b"x") + frame(PONG) + OWN, [TAKEN]
CASES["a pong of 126 bytes is too long"] = frame(PONG, b"x" * 126) + OWN, [1002]

# Reserved bits and opcodes
for rsv in range(1, 8):
    CASES[f"reserved bits {rsv:03b} mean nothing here"] = (
        OWN + frame(TEXT, MESSAGE, rsv=rsv) + OWN,
        [TAKEN, 1002],
    )
for opcode in (PING, PONG, CLOSE, CONT):
    CASES[f"reserved bits on opcode {opcode} mean nothing here"] = frame(opcode, b"", rsv=4) + OWN, [1002]
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    CASES[f"opcode {opcode} is reserved"] = OWN + frame(opcode, b"x") + OWN, [TAKEN, 1002]

# Fragments
for size in (1, 2, 7, 12):
    CASES[f"fragments of {size} bytes are one message"] = fragments(MESSAGE, size) + OWN, [TAKEN, TAKEN]
CASES["empty fragments are fragments"] = (
    frame(TEXT, fin=0) + frame(CONT, fin=0) + frame(CONT, MESSAGE, fin=0) + frame(CONT),
    [TAKEN],
)
CASES["three empty fragments are an empty text"] = (
    frame(TEXT, fin=0) + frame(CONT, fin=0) + frame(CONT),
    ["BAD_MESSAGE"],
)
CASES["a ping between fragments is answered before the message"] = (
    frame(TEXT, MESSAGE[:5], fin=0) + frame(PING, b"now") + frame(PONG) + frame(CONT, MESSAGE[5:]),
    [pong(b"now"), TAKEN],
)
CASES["a ping counts nothing towards the size of the message around it"] = (
    frame(TEXT, sized(4090), fin=0)
    + frame(PING, b"x" * 125)
    + frame(PONG, b"x" * 125)
    + frame(CONT, b" " * 6),
    [pong(b"x" * 125), TAKEN],
)
CASES["a message of 4096 bytes in fragments is taken"] = fragments(sized(4096), 1000), [TAKEN]
CASES["a message of 4097 bytes in fragments is too large"] = OWN + fragments(sized(4097), 4096), [TAKEN, 1009]
CASES["a continuation of nothing is an error"] = OWN + frame(CONT, MESSAGE) + OWN, [TAKEN, 1002]
CASES["a first fragment that continues nothing is an error"] = frame(CONT, b"", fin=0) + OWN, [1002]
CASES["a continuation after the last fragment is an error"] = (
    fragments(MESSAGE, 6) + frame(CONT),
    [TAKEN, 1002],
)
CASES["a new text within a message is an error"] = frame(TEXT, MESSAGE, fin=0) + OWN, [1002]
CASES["a new binary within a message is an error"] = frame(TEXT, MESSAGE, fin=0) + frame(BINARY), [1002]
for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE)):
    CASES[f"a {name} in fragments is an error"] = OWN + frame(opcode, b"", fin=0) + OWN, [TAKEN, 1002]

# UTF-8
CASES["a character of three bytes is taken"] = frame(TEXT, EURO), [TAKEN]
CASES["a character split over two fragments is taken"] = (
    frame(TEXT, EURO[:CUT], fin=0) + frame(PING) + frame(CONT, EURO[CUT:]),
    [pong(), TAKEN],
)
CASES["characters in fragments of a byte are taken"] = fragments('{"type":"κ𐍈�"}'.encode(), 1), [TAKEN]
for bad in (
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3(",
    b"\x80",
    b"\xe2\x82",
    b"\xf8\x88\x80\x80\x80",
):
    text = b'{"type":"' + bad + b'"}'
    CASES[f"{bad.hex()} is no UTF-8"] = OWN + frame(TEXT, text) + OWN, [TAKEN, 1007]
    CASES[f"{bad.hex()} in fragments of a byte is no UTF-8"] = OWN + fragments(text, 1) + OWN, [TAKEN, 1007]
CASES["a text that ends within a character is no UTF-8"] = frame(TEXT, EURO[:CUT]), [1007]
CASES["a message that ends within a character is no UTF-8"] = (
    frame(TEXT, EURO[:CUT], fin=0) + frame(CONT, EURO[CUT : CUT + 1]) + OWN,
    [1007],
)

# Closing
CASES["a close without a code is answered without one"] = close(), [echoed()]
for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
    CASES[f"close code {code} is echoed"] = close(code), [echoed(code)]
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    CASES[f"close code {code} must not be sent"] = OWN + close(code), [TAKEN, 1002]
CASES["a close with a reason is echoed"] = close(1000, b"bye"), [(echoed(1000), echoed(1000, b"bye"))]
CASES["a reason of 123 bytes is echoed"] = close(1000, b"b" * 123), [(echoed(1000), echoed(1000, b"b" * 123))]
CASES["a reason of 124 bytes is too long"] = close(1000, b"b" * 124), [1002]
CASES["a close of one byte is an error"] = OWN + frame(CLOSE, b"\x03"), [TAKEN, 1002]
CASES["a reason must be UTF-8"] = OWN + close(1000, b"\xce\xba\xe1\xbd"), [TAKEN, (1002, 1007)]
CASES["what follows a close is not read"] = close(1000) + OWN + frame(PING) + frame(3), [echoed(1000)]
CASES["the second of two closes is not answered"] = close(1001) + close(1000), [echoed(1001)]
CASES["a close may come between fragments"] = frame(TEXT, MESSAGE, fin=0) + close(1000), [echoed(1000)]
CASES["a ping and a message before a close are answered before it"] = (
    frame(PING) + OWN + close(1000),
    [pong(), TAKEN, echoed(1000)],
)
CASES["a message in fragments before a close is answered before it"] = (
    fragments(MESSAGE, 5) + close(1000),
    [TAKEN, echoed(1000)],
)
CASES["bad text before a close counts first"] = (
    frame(PING) + frame(TEXT, b"\xff") + close(1000),
    [pong(), 1007],
)
CASES["a ping and a message before an error are answered before it"] = (
    frame(PING) + OWN + frame(3),
    [pong(), TAKEN, 1002],
)
