"""What a client sends, from bytes to messages (RFC 6455, 5): strict, with nothing waiting but one message."""

from collections.abc import Iterator
from typing import Final

from ..domain.close_codes import CloseCode

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN: Final = 0x80
MASKED: Final = 0x80
WHOLE_TEXT: Final = FIN | TEXT
CONTROL: Final = 0x08
FIRST: Final = frozenset(
    (CONT, TEXT, BINARY, *(FIN | code for code in (CONT, TEXT, BINARY, CLOSE, PING, PONG)))
)
"""First bytes of frames: no extension is agreed on, and control frames come whole."""


class BadFrame(Exception):
    """The connection cannot go on; ``code`` closes it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Frames:
    """``largest``: bytes of a message, however many fragments it has."""

    __slots__ = ("_largest", "_opcode", "_parts", "_rest")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._rest = b""
        self._parts: bytearray | None = None
        self._opcode = CONT

    def read(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each message and each control frame that is whole now, in order; raises ``BadFrame``.

        To be read to its end, unless the connection ends. UTF-8 and close codes are not looked at.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        while size - at >= 2:
            first, length, start = data[at], data[at + 1] ^ MASKED, at + 6
            if first not in FIRST or length > 127:
                raise BadFrame(CloseCode.PROTOCOL_ERROR)
            if length > 125:
                if first & CONTROL:
                    raise BadFrame(CloseCode.PROTOCOL_ERROR)
                extended = 2 if length == 126 else 8
                if size - at < 2 + extended:
                    break
                length, start = int.from_bytes(data[at + 2 : at + 2 + extended], "big"), start + extended
                if length < (126 if extended == 2 else 65536):
                    raise BadFrame(CloseCode.PROTOCOL_ERROR)  # longer than it needs to be
                if length > self._largest:
                    raise BadFrame(CloseCode.MESSAGE_TOO_BIG)
            end = start + length
            if end > size:
                break
            payload = apply_mask(data[start:end], data[start - 4 : start])
            at = end
            if first == WHOLE_TEXT and self._parts is None:
                yield TEXT, payload
            elif first & CONTROL:
                yield first & 0x0F, payload
            elif (message := self._message(first, payload)) is not None:
                yield self._opcode, message
        self._rest = data[at:]

    def _message(self, first: int, payload: bytes) -> bytes | None:
        if (first & 0x0F == CONT) is (self._parts is None):
            raise BadFrame(CloseCode.PROTOCOL_ERROR)
        if self._parts is None:
            self._opcode, self._parts = first & 0x0F, bytearray()
        self._parts += payload
        if len(self._parts) > self._largest:
            raise BadFrame(CloseCode.MESSAGE_TOO_BIG)
        if not first & FIN:
            return None
        message, self._parts = bytes(self._parts), None
        return message
