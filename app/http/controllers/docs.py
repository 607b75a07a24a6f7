"""The contract for machines, and as a page."""

from typing import Any, Final

import msgspec
from starlette.requests import Request

from ..middleware import Headers, Reply
from ..page import POLICY, page

_ALIKE: Final[Headers] = [(b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]
_JSON: Final[Headers] = [(b"content-type", b"application/json"), *_ALIKE]
_HTML: Final[Headers] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    *_ALIKE,
]


class DocsController:
    """Takes no token. Nothing is served before ``describe``."""

    def describe(self, openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
        self._openapi = msgspec.json.encode(openapi)
        self._asyncapi = msgspec.json.encode(asyncapi)
        self._page = page(openapi, asyncapi)

    async def openapi(self, request: Request) -> Reply:
        return Reply(200, self._openapi, _JSON)

    async def asyncapi(self, request: Request) -> Reply:
        return Reply(200, self._asyncapi, _JSON)

    async def docs(self, request: Request) -> Reply:
        return Reply(200, self._page, _HTML)
