"""One address and its methods, as an ASGI app that the router mounts."""

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from ..domain.errors import PollroomError
from .middleware import problem

Answer = Callable[[Send], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Answer]]


class Resource:
    """``Resource(GET=…, POST=…)``: each handler decodes, calls one service and gives a ``Reply`` or a stream, or raises its code.

    Other methods are ``METHOD_NOT_ALLOWED``; HEAD is GET, whose body the server leaves out.
    """

    def __init__(self, **handlers: Handler) -> None:
        self.methods = tuple(handlers)
        self._by_method: dict[str, Handler] = dict(handlers)
        if "GET" in handlers:
            self._by_method["HEAD"] = handlers["GET"]
        self._allow = (b"allow", ", ".join(self._by_method).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._by_method.get(scope["method"])
        if handler is None:
            await problem(PollroomError("METHOD_NOT_ALLOWED"), [self._allow])(send)
            return
        try:
            answer: Answer = await handler(Request(scope, receive))
        except PollroomError as error:
            answer = problem(error)
        except ClientDisconnect:
            return
        await answer(send)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Every address that no route has."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    else:
        await problem(PollroomError("NOT_FOUND"))(send)
