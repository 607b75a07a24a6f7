"""The WebSocket endpoint, ``GET /ws``."""

from collections.abc import Awaitable, Callable, Collection

from starlette.websockets import WebSocket

from ..ports.clock import Clock
from ..services.rooms.connections import OVERLOADED, RESTART, ConnectionRegistry
from .disconnect import until_disconnected
from .events import Events
from .middleware import header_token, refused_origin
from .socket import AsgiWire, Limits, Socket

SUBPROTOCOL = "pollroom.v1"


def endpoint(
    events: Events,
    departures: ConnectionRegistry,
    clock: Clock,
    limits: Limits,
    origins: Collection[str],
    largest_number: int,
) -> Callable[[WebSocket], Awaitable[None]]:
    """``largest_number``: of sockets in this process; whoever comes then is closed with 4503."""

    async def serve(websocket: WebSocket) -> None:
        if refused_origin(websocket, origins):
            await websocket.close()
            return
        offered = websocket.scope.get("subprotocols") or ()
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        if departures.draining or len(departures.members) >= largest_number:
            await websocket.close(RESTART if departures.draining else OVERLOADED)
            return
        attach = websocket.scope.get("extensions", {}).get("pollroom.wire")
        wire = attach() if attach else AsgiWire(websocket)
        socket = Socket(wire, events, limits, clock)
        wire.member = socket
        departures.arrived(socket)
        if (token := header_token(websocket)) is not None:
            socket.later(token)
        await until_disconnected(websocket, socket, departures)

    return serve
