"""Answers of the protocol itself, to what never becomes a request."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from .middleware import problem_document
from .request_head import Refused

_encode: Final = msgspec.json.Encoder().encode


def refusal(refused: Refused, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole HTTP answer with a problem document, after which the connection ends."""
    body = _encode(problem_document(refused.status, refused.code, refused.detail))
    lines = [b"HTTP/1.1 %d %s" % (refused.status, HTTPStatus(refused.status).phrase.encode())]
    lines += [name + b": " + value for name, value in (*default_headers, *refused.headers)]
    lines += [
        b"content-type: application/problem+json",
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"content-length: %d" % len(body),
        b"connection: close",
        b"",
        b"",
    ]
    return b"\r\n".join(lines) + body
