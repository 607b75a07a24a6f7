"""How a connection ends here: it is read until then, and nothing of it is left behind.

Who must go, and with which code, is decided in ``services/registry.py``, for every transport alike.
"""

from starlette.websockets import WebSocket

from ..domain.close_codes import CloseCode
from ..services.rooms.connections import ConnectionRegistry
from .socket import MAX_MESSAGE_BYTES, Socket


async def until_disconnected(websocket: WebSocket, socket: Socket, registry: ConnectionRegistry) -> None:
    """Read until the connection ends, then forget it at once, in every room. With our own protocol class only the end
    comes this way."""
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
