"""The end of a WebSocket connection: it is read until then, and nothing of it is left behind.

``services/rooms/connections.py`` decides which connections are closed, and with which code, for every transport alike.
"""

from starlette.websockets import WebSocket

from ..domain.close_codes import CloseCode
from ..services.rooms.connections import ConnectionRegistry
from .socket import MAX_MESSAGE_BYTES, Socket


async def until_disconnected(websocket: WebSocket, socket: Socket, registry: ConnectionRegistry) -> None:
    """Read until the connection ends, then remove it from every room at once.

    With our protocol class only the end of the connection comes this way.
    """
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                registry.end(socket, CloseCode.UNSUPPORTED_DATA)
            elif len(data := text.encode()) > MAX_MESSAGE_BYTES:
                registry.end(socket, CloseCode.MESSAGE_TOO_BIG)
            else:
                socket.on_message(data)
    finally:
        socket.stop()
        registry.remove(socket)
