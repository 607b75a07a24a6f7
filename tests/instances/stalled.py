"""A WebSocket client by hand that decides when it reads, and whether."""

import json
import os
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from tools.harness.process import Server

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Stalled:
    """Upgraded, then nothing is read until ``read``. ``buffer``: SO_RCVBUF, the kernel's default unless given.

    Whatever is read must be whole unmasked frames, the texts JSON. ``controls``: opcode and payload of pings and pongs.
    """

    def __init__(self, server: Server, buffer: int | None = None) -> None:
        where = urlsplit(server.url())
        self._socket = socket.socket()
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(10)
        self._socket.connect((where.hostname, where.port))
        self._socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        self._data = b""
        self.texts: list[dict[str, Any]] = []
        self.controls: list[tuple[int, bytes]] = []
        self.close_code: int | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def send(self, message: dict[str, Any]) -> None:
        self.send_bytes(masked(1, json.dumps(message).encode()))

    def send_bytes(self, data: bytes) -> None:
        self._socket.settimeout(10)
        self._socket.sendall(data)

    def read(self, seconds: float, most: int = 262_144) -> bool:
        """Take what comes, ``most`` bytes of it, and wait ``seconds`` for it; false once the connection has ended."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(most)
        except (TimeoutError, BlockingIOError):
            return True
        except ConnectionError:
            return False
        self._data += data
        self._frames()
        return bool(data)

    def close(self) -> None:
        self._socket.close()

    def _frames(self) -> None:
        at = 0
        while len(self._data) >= at + 2:
            opcode, size, start = self._data[at] & 15, self._data[at + 1], at + 2
            known = self._data[at] == 0x80 | opcode and opcode in (TEXT, CLOSE, PING, PONG) and size < 128
            assert known, f"no frame begins with {self._data[at : at + 40]!r}"
            for marker, form in ((126, ">H"), (127, ">Q")):
                if size == marker:
                    width = struct.calcsize(form)
                    if len(self._data) < start + width:
                        break
                    size, start = struct.unpack_from(form, self._data, start)[0], start + width
                    break
            if len(self._data) < start + size or (size in (126, 127) and start == at + 2):
                break
            payload, at = self._data[start : start + size], start + size
            if opcode == TEXT:
                self.texts.append(json.loads(payload))
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", payload[:2])[0]
            else:
                self.controls.append((opcode, payload))
        self._data = self._data[at:]


def masked(opcode: int, payload: bytes) -> bytes:
    assert len(payload) < 126 or opcode == 1
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))
