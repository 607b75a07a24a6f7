"""What a request carries besides its token: body, query, ids, idempotency key."""

import asyncio
import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from ..domain import decoding as decode
from ..domain.errors import PollroomError, invalid
from ..domain.values import is_id

T = TypeVar("T")

MAX_BODY: Final = 64 * 1024
MAX_POLL_BODY: Final = 256 * 1024
"""All fields of a poll at their limits, with every character escaped, fit."""
BODY_SECONDS: Final = 30
MAX_CURSOR: Final = 200
DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

_BALLOT_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLL_KEY: Final = re.compile(r"[ -~]{1,255}")
_CODE: Final = re.compile(r"[A-Za-z2-9]{6}")
_KEY: Final = "Idempotency-Key"


async def body(request: Request, decoder: msgspec.json.Decoder[T], limit: int = MAX_BODY) -> T:
    """The JSON object that a call needs.

    Raises, in this order, ``UNSUPPORTED_MEDIA``, ``TOO_LARGE``, ``BAD_MESSAGE``, ``VALIDATION_FAILED``.
    """
    _require_json(request)
    return decode.decode(await _read(request, limit), decoder)


async def optional_body(request: Request, decoder: msgspec.json.Decoder[T]) -> T | None:
    """None for an empty body, whatever type it declares."""
    data = await _read(request)
    if not data:
        return None
    _require_json(request)
    return decode.decode(data, decoder)


async def raw_body(request: Request, limit: int, seconds: float, on_bytes: Callable[[int], None]) -> bytes:
    """The bytes as they come, whatever type they declare; ``TOO_LARGE`` above ``limit`` of them.

    ``on_bytes`` is called with the size of each part as it arrives, and may raise to refuse it.
    """
    return await _read(request, limit, seconds, on_bytes)


def client_of(request: Request) -> str | None:
    """The address that the request comes from."""
    return request.client.host if request.client else None


def path_id(request: Request) -> str:
    """The poll's id in the path; a malformed one is ``NOT_FOUND``."""
    value: str = request.path_params["poll_id"]
    if not is_id(value):
        raise PollroomError("NOT_FOUND")
    return value


def path_deck_id(request: Request) -> str:
    """The deck's id in the path; a malformed one is ``NOT_FOUND``."""
    value: str = request.path_params["deck_id"]
    if not is_id(value):
        raise PollroomError("NOT_FOUND")
    return value


def path_code(request: Request) -> str:
    value: str = request.path_params["code"]
    if not _CODE.fullmatch(value):
        raise PollroomError("NOT_FOUND")
    return value.upper()


def page(request: Request) -> tuple[int, str | None]:
    """``limit`` and ``cursor`` of a list; other parameters are ignored."""
    limit = request.query_params.get("limit")
    cursor = request.query_params.get("cursor")
    if limit is not None and not (
        limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MAX_LIMIT
    ):
        raise invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    if cursor is not None and not (len(cursor) <= MAX_CURSOR and cursor.isascii() and cursor.isprintable()):
        raise invalid("cursor", "is not one that this list gave")
    return DEFAULT_LIMIT if limit is None else int(limit), cursor


def poll_key(request: Request) -> str | None:
    """``Idempotency-Key`` of ``POST /polls``."""
    key = request.headers.get(_KEY)
    if key is not None and not _POLL_KEY.fullmatch(key):
        raise invalid(_KEY, "must have 1 to 255 printable ASCII characters")
    return key


def ballot_key(request: Request, ballot_id: str | None = None) -> str | None:
    """The ballot's id: from the body, or ``Idempotency-Key``, or equal in both."""
    key = request.headers.get(_KEY)
    if key is None:
        return ballot_id
    if not _BALLOT_KEY.fullmatch(key):
        raise invalid(_KEY, "must have 1 to 64 of A-Z a-z 0-9 _ -")
    if ballot_id not in (None, key):
        raise invalid("id", f"differs from {_KEY}")
    return key


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise PollroomError("UNSUPPORTED_MEDIA", "The body must be declared as application/json.")


async def _read(
    request: Request,
    limit: int = MAX_BODY,
    seconds: float = BODY_SECONDS,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise PollroomError("TOO_LARGE")
    parts = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                if size > limit:
                    raise PollroomError("TOO_LARGE")
                on_bytes(len(part))
                parts.append(part)
    except TimeoutError:
        raise PollroomError("BAD_MESSAGE", f"The body did not arrive within {seconds:g} seconds.") from None
    return b"".join(parts)
