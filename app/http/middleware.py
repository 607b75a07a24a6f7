"""Around every HTTP call: request id, CORS, identity, and errors as problem documents."""

import itertools
import math
import re
from collections.abc import AsyncIterator, Collection
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..domain.errors import PollroomError
from ..domain.origins import origin_allowed
from ..domain.users import Identity
from ..domain.values import new_id
from ..services.accounts.sessions import Sessions
from ..utils import logger

Headers = list[tuple[bytes, bytes]]

STATUS: Final = {
    "BAD_MESSAGE": 400,
    "UNKNOWN_TYPE": 400,
    "UNAUTHENTICATED": 401,
    "INVALID_CREDENTIALS": 401,
    "TOKEN_EXPIRED": 401,
    "FORBIDDEN": 403,
    "CHALLENGE_REQUIRED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "EMAIL_TAKEN": 409,
    "ALREADY_VOTED": 409,
    "BALLOT_ID_REUSED": 409,
    "CHANGE_NOT_ALLOWED": 409,
    "CHANGE_LIMIT": 409,
    "POLL_NOT_OPEN": 409,
    "POLL_CLOSED": 409,
    "POLL_LOCKED": 409,
    "POLL_PAUSED": 409,
    "NOTHING_TO_REVEAL": 409,
    "POLL_IN_DECK": 409,
    "DECK_MOVED": 409,
    "DECK_ENDED": 409,
    "TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA": 415,
    "VALIDATION_FAILED": 422,
    "INVALID_OPTION": 422,
    "INVALID_CHOICE_COUNT": 422,
    "UPGRADE_REQUIRED": 426,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
# Tallies move and tokens are secret: no cache may keep an answer.
_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_BEARER: Final = (b"www-authenticate", b"Bearer")
_UPGRADE: Final[Headers] = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
_EXPOSE: Final = (b"access-control-expose-headers", b"Retry-After, X-Request-Id")
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, Idempotency-Key, X-Request-Id"),
    (b"access-control-max-age", b"600"),
]
_SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logger.get(__name__)


class Reply:
    """One whole answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        self.status = status
        self.body = body
        self.headers = [*headers, (b"content-length", b"%d" % len(body))]

    async def __call__(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class StreamReply:
    """An answer in parts. A failure after the first one cuts the connection."""

    __slots__ = ("_first", "_headers", "_rest")

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], headers: Headers) -> None:
        self._headers = headers
        self._first = first
        self._rest = rest

    async def __call__(self, send: Send) -> None:
        headers = [*self._headers, _NO_STORE, _NO_SNIFF]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for part in self._rest:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


async def streamed(parts: AsyncIterator[bytes], headers: Headers | None = None) -> StreamReply:
    """JSON in parts, unless ``headers`` say otherwise. What the first part raises is answered like any refusal."""
    return StreamReply(await anext(parts), parts, headers or [_JSON])


def reply(status: int, value: Any) -> Reply:
    return Reply(status, _encode(value), [_JSON, _NO_STORE, _NO_SNIFF])


def no_content() -> Reply:
    # 204 has no content-length either.
    answer = Reply(204, b"", [])
    answer.headers = [_NO_STORE]
    return answer


def problem_document(status: int, code: str, detail: str) -> dict[str, Any]:
    """RFC 9457, with ``code``."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }


def problem(error: PollroomError, extra: Headers | None = None) -> Reply:
    """A problem document, with ``fields`` or ``retryAfter`` where they apply."""
    status = STATUS[error.code]
    document = problem_document(status, error.code, error.message)
    headers: Headers = [_PROBLEM, _NO_STORE, _NO_SNIFF, *(extra or [])]
    if error.code == "VALIDATION_FAILED":
        document["fields"] = dict(error.fields or {})
    if error.code in ("RATE_LIMITED", "UNAVAILABLE"):
        seconds = 1.0 if error.retry_after is None else error.retry_after
        document["retryAfter"] = seconds
        headers.append((b"retry-after", b"%d" % math.ceil(seconds)))
    if status == 401:
        headers.append(_BEARER)
    if status == 426:
        headers += _UPGRADE
    return Reply(status, _encode(document), headers)


class Bearer:
    """Who asks, told by the ``Authorization`` header."""

    def __init__(self, auth: Sessions) -> None:
        self._auth = auth

    def optional(self, request: Request) -> Identity | None:
        """None without the header. A bad token is refused, also where none is needed."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise PollroomError("UNAUTHENTICATED")
        identity = self._auth.authenticate(token.strip())
        connection = request.scope.get("state", {}).get("pollroom.connection")
        if connection is not None:
            connection.user_id = identity.user.id
        return identity

    def required(self, request: Request) -> Identity:
        identity = self.optional(request)
        if identity is None:
            raise PollroomError("UNAUTHENTICATED")
        return identity


class Transport:
    """The outermost layer: nothing leaves it but answers."""

    def __init__(self, app: ASGIApp, allowed_origins: Collection[str]) -> None:
        self._app = app
        self._allowed = allowed_origins
        self._prefix = new_id().encode()
        self._count = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = request_id = host = b""
        preflight = False
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
            elif name == b"x-request-id":
                request_id = value
            elif name == b"access-control-request-method":
                preflight = scope["method"] == "OPTIONS"
        if not _SANE_REQUEST_ID.fullmatch(request_id):
            request_id = b"%b-%x" % (self._prefix, next(self._count))
        added = [(b"x-request-id", request_id)]
        if origin:
            added += self._cors(origin, host, preflight)
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            if preflight and origin:
                await no_content()(send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception:
            log.exception("unexpected error", method=scope["method"])
            if started:
                raise  # Half an answer is out: the server has to cut the connection.
            await problem(PollroomError("INTERNAL"))(send_with_headers)

    def _cors(self, origin: bytes, host: bytes, preflight: bool) -> Headers:
        vary = (b"vary", b"Origin")
        if not origin_allowed(origin.decode("latin-1"), host.decode("latin-1"), self._allowed):
            return [vary]
        headers = [(b"access-control-allow-origin", origin), vary]
        return headers + _PREFLIGHT if preflight else [*headers, _EXPOSE]
