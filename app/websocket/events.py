"""Events of a WebSocket: each text message is decoded, counted against the rate limit, and dispatched in order."""

import asyncio
from typing import Final

from ..services.rooms.dispatcher import Dispatcher
from ..services.rooms.message_decoder import Refused, parse
from ..services.rooms.messages import ClientMessage, ErrorMessage
from .socket import Socket

MAX_INBOX: Final = 64
"""Messages of one socket that wait for their turn; beyond that it is not read."""


class Events:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_message(self, socket: Socket, data: bytes) -> None:
        """Handle a whole text message."""
        if socket.closed:
            return
        try:
            message = parse(data)
        except Refused as refused:
            if not (wait := socket.rate_limit.take()):
                socket.send(ErrorMessage.of(refused.error, refused.id))
            else:
                self._dispatcher.over_limit(socket, wait, refused.id, socket.send)
            return
        if wait := socket.rate_limit.take():
            self._dispatcher.over_limit(socket, wait, message.id, socket.send)
        elif socket.worker is not None or not self._dispatcher.dispatch_now(socket, message, socket.send):
            self.enqueue(socket, message)

    def enqueue(self, socket: Socket, message: ClientMessage) -> None:
        """Dispatch a message after those that wait already."""
        self._dispatcher.charge(socket, message)
        socket.inbox.append(message)
        if len(socket.inbox) == MAX_INBOX:
            socket.pause_reading()
        if socket.worker is None:
            socket.worker = asyncio.create_task(self._work(socket))

    async def _work(self, socket: Socket) -> None:
        try:
            while socket.inbox and not socket.closed:
                message = socket.inbox.popleft()
                if len(socket.inbox) == MAX_INBOX // 2:
                    socket.resume_reading()
                await self._dispatcher.dispatch(socket, message, socket.send)
        finally:
            socket.worker = None
