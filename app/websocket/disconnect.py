"""How a connection ends here: it is read until then, and nothing of it is left behind.

Who must go, and with which code, is decided in ``services/departures.py``, for every transport alike.
"""

from starlette.websockets import WebSocket

from ..services.rooms.connections import NOT_TEXT, TOO_BIG, ConnectionRegistry
from .socket import LARGEST_MESSAGE, Socket


async def until_disconnected(websocket: WebSocket, socket: Socket, departures: ConnectionRegistry) -> None:
    """Read until the connection ends, then forget it at once, in every room. With our own protocol class only the end
    comes this way."""
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                departures.end(socket, NOT_TEXT)
            elif len(data := text.encode()) > LARGEST_MESSAGE:
                departures.end(socket, TOO_BIG)
            else:
                socket.received(data)
    finally:
        socket.stop()
        departures.gone(socket)
