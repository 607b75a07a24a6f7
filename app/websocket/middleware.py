"""What is decided at the upgrade: whose page it is, and whose token comes along."""

from collections.abc import Collection

from starlette.websockets import WebSocket

from ..domain.origins import origin_allowed


def refused_origin(websocket: WebSocket, allowed: Collection[str]) -> bool:
    """Whether a browser's page asks that may not. No ``Origin``: not a browser, allowed."""
    origin = websocket.headers.get("origin")
    return origin is not None and not origin_allowed(origin, websocket.headers.get("host", ""), allowed)


def header_token(websocket: WebSocket) -> str | None:
    """The token of ``Authorization: Bearer``; a header of another form is a token that does not hold."""
    header = websocket.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
