"""RFC 6455 by hand: a client that sends any bytes, cut anywhere, and shows every byte that comes back."""

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tools.harness.process import Server

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SECONDS = 10.0
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
KEY = b"\x37\xfa\x21\x3d"
"""The masking key of the RFC's examples (5.7)."""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: int = 1,
    rsv: int = 0,
    key: bytes | None = KEY,
    length: int = -1,
) -> bytes:
    """A client's frame; ``length``: bytes of the extended length (0, 2, 8), as few as can be unless told."""
    size = len(payload)
    if length < 0:
        length = 0 if size < 126 else 2 if size < 65536 else 8
    mask = 0x80 if key is not None else 0
    head = bytes([fin << 7 | rsv << 4 | opcode, mask | {0: size, 2: 126, 8: 127}[length]])
    head += size.to_bytes(length, "big") if length else b""
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def echoed(code: int | None = None, reason: bytes = b"") -> bytes:
    """The server's own frame for the same."""
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, key=None)


def pong(payload: bytes = b"") -> bytes:
    return frame(PONG, payload, key=None)


class Wire:
    """A blocking socket after the answer to its upgrade."""

    def __init__(self, server: Server, lines: Sequence[str] | None = None) -> None:
        where = urlsplit(server.url(0))
        assert where.hostname is not None and where.port is not None
        self._sock = socket.create_connection((where.hostname, where.port), SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        if lines is None:
            lines = upgrade()
        self.send("\r\n".join([*lines, f"Host: {where.netloc}", "", ""]).encode("latin-1"))
        while b"\r\n\r\n" not in self._got and self._read():
            pass
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
        }

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_apart(self, chunks: Sequence[bytes]) -> None:
        """Each only once the server has read what went before it; nothing more once it has hung up."""
        for chunk in chunks:
            end = time.monotonic() + SECONDS
            try:
                self._sock.sendall(chunk)
                while self._unread() and time.monotonic() < end:
                    pass
            except OSError:
                return

    def done(self) -> None:
        """Half-close: nothing more will come from here."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the server was first

    def next(self) -> bytes | None:
        """The next frame as it came, checked to be unmasked, without reserved bits and of a minimal length."""
        while len(self._got) < self._size():
            if not self._read():
                assert not self._got, f"the connection ended within a frame: {self._got!r}"
                return None
        size = self._size()
        found, self._got = self._got[:size], self._got[size:]
        return found

    def _size(self) -> int:
        """Of the frame in ``_got``, as far as is known."""
        got = self._got
        if len(got) < 2:
            return 2
        assert not got[0] & 0x70 and got[1] < 127, got[:2]
        if got[1] < 126:
            return 2 + got[1]
        return 4 + struct.unpack(">H", got[2:4])[0] if len(got) >= 4 else 4

    def _read(self) -> bool:
        try:
            data = self._sock.recv(65536)
        except ConnectionError:
            return False
        self._got += data
        return bool(data)

    def _unread(self) -> bool:
        """Whether bytes wait in the server's receive queue: Linux says (sock_diag(7))."""
        far, near = self._sock.getpeername(), self._sock.getsockname()
        ends = struct.pack(">HH16s16s", far[1], near[1], *(socket.inet_aton(host) for host, _ in (far, near)))
        any_one = 0xFFFFFFFF
        asked = struct.pack(
            "=BBBBI48s", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, any_one, ends + b"\0" * 4 + b"\xff" * 8
        )
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            kernel.send(
                struct.pack("=IHHII", 16 + len(asked), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + asked
            )
            answer = kernel.recv(4096)
        found: bool = struct.unpack_from("=H", answer, 4)[0] == SOCK_DIAG_BY_FAMILY
        return found and struct.unpack_from("=I", answer, 16 + 56)[0] > 0


def upgrade(**other: str | None) -> list[str]:
    """The head of an upgrade without ``Host``; ``first`` replaces its first line, None leaves a header out."""
    headers: dict[str, str | None] = {
        "first": "GET /ws HTTP/1.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | {name.replace("_", "-"): value for name, value in other.items()}
    first = headers.pop("first") or ""
    return [first, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]


def told(found: bytes) -> Any:
    """A text frame as the ``code`` or else the ``type`` of its message, any other as its bytes."""
    if found[0] != 0x81:
        return found
    message = json.loads(found[2 if found[1] < 126 else 4 :])
    return message.get("code", message["type"])
