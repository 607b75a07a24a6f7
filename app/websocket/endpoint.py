"""The WebSocket endpoint, ``GET /ws``."""

from collections.abc import Awaitable, Callable, Collection

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from ..domain.close_codes import CloseCode
from ..ports.clock import Clock
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.messages import Auth
from ..services.rooms.origin_refusals import OriginRefusals
from .disconnect import until_disconnected
from .events import Events
from .middleware import header_token, refused_origin
from .rooms import WebSocketRooms
from .socket import AsgiWire, Limits, Socket

SUBPROTOCOL = "pollroom.v1"


def endpoint(
    events: Events,
    rooms: WebSocketRooms,
    registry: ConnectionRegistry,
    clock: Clock,
    limits: Limits,
    origins: Collection[str],
    max_sockets: int,
) -> Callable[[WebSocket], Awaitable[None]]:
    """``max_sockets``: limit of this process; further sockets are closed with 4503."""

    refusals = OriginRefusals()

    async def serve(websocket: WebSocket) -> None:
        if refused_origin(websocket, origins):
            document = refusals.document(websocket.headers["origin"])
            await websocket.send_denial_response(
                JSONResponse(document, 403, media_type="application/problem+json")
            )
            return
        offered = websocket.scope.get("subprotocols") or ()
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        if registry.draining or len(registry.connections) >= max_sockets:
            await websocket.close(CloseCode.RESTART if registry.draining else CloseCode.OVERLOADED)
            return
        attach = websocket.scope.get("extensions", {}).get("pollroom.wire")
        wire = attach() if attach else AsgiWire(websocket)
        client = websocket.client
        socket = Socket(wire, rooms, events.on_message, limits, clock, client.host if client else None)
        wire.listener = socket
        registry.add(socket)
        if (token := header_token(websocket)) is not None:
            events.enqueue(socket, Auth(token=token))
        await until_disconnected(websocket, socket, registry)

    return serve
