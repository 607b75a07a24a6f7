"""The rules for a request's head, before it becomes a request."""

import binascii
from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_FIELDS: Final = 100
MAX_LENGTH_DIGITS: Final = 18

Fields = list[tuple[bytes, bytes]]


class Refused(NamedTuple):
    status: int
    code: str
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


TOO_LARGE: Final = Refused(
    431, "TOO_LARGE", f"A request's head has at most {MAX_HEAD_BYTES} bytes and {MAX_FIELDS} fields."
)
MALFORMED: Final = Refused(400, "BAD_MESSAGE", "Not a valid HTTP request.")
NO_HOST: Final = Refused(400, "BAD_MESSAGE", "Exactly one Host header is required, and it must not be empty.")
UNKNOWN_HOST: Final = Refused(400, "BAD_MESSAGE", "This server is not known by that Host (ALLOWED_HOSTS).")
UPGRADE_WITH_BODY: Final = Refused(
    400, "BAD_MESSAGE", "A WebSocket upgrade has no body and is not pipelined."
)
BAD_HANDSHAKE: Final = Refused(
    400,
    "BAD_MESSAGE",
    "A WebSocket upgrade has one Sec-WebSocket-Key of 16 bytes in base64 and a Sec-WebSocket-Version.",
)
OTHER_VERSION: Final = Refused(
    426,
    "UPGRADE_REQUIRED",
    "This server speaks version 13 of WebSocket.",
    ((b"sec-websocket-version", b"13"),),
)
CONNECT: Final = Refused(400, "BAD_MESSAGE", "This server is not a proxy: CONNECT is not supported.")


def read_head(fields: Fields, version: str) -> tuple[bytes, int] | Refused:
    """The host, and the declared length of the body: -1 for a chunked one."""
    host: bytes | None = None
    length = 0
    for name, value in fields:
        if name == b"host":
            if host is not None or not value:
                return NO_HOST
            host = value
        elif name == b"content-length":
            if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
                return MALFORMED
            length = int(value)
        elif name == b"transfer-encoding":
            length = -1
    if host is None and version != "1.0":
        return NO_HOST
    return host or b"", length


def wants_websocket(method: bytes, version: str, fields: Fields) -> bool:
    return (
        method == b"GET"
        and version == "1.1"
        and any(name == b"upgrade" and b"websocket" in _tokens(value) for name, value in fields)
    )


def check_handshake(fields: Fields) -> Refused | None:
    """RFC 6455, 4.2.1. The library would answer in plain text."""
    versions = [value for name, value in fields if name == b"sec-websocket-version"]
    keys = [value for name, value in fields if name == b"sec-websocket-key"]
    if versions and versions != [b"13"]:
        return OTHER_VERSION
    return None if versions and len(keys) == 1 and _is_key(keys[0]) else BAD_HANDSHAKE


def _is_key(value: bytes) -> bool:
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) == 16
    except binascii.Error:
        return False


def without_upgrade(method: bytes, url: bytes, version: str, fields: Fields) -> bytes:
    """The head as sent by a client that does not ask for another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    for name, value in fields:
        if name == b"connection":
            kept = [token for token in _tokens(value) if token not in (b"upgrade", b"http2-settings")]
            if kept:
                lines.append(b"connection: " + b", ".join(kept))
        elif name not in (b"upgrade", b"http2-settings"):
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]
