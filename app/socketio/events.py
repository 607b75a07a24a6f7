"""Socket.IO events: each is decoded, counted against the rate limit, and dispatched; answers go to its callback."""

from functools import partial

import msgspec
from msgspec import Struct

from ..domain.decoding import decode
from ..services.rooms.dispatcher import Dispatcher
from ..services.rooms.message_decoder import Refused
from ..services.rooms.messages import Authenticated, ErrorMessage
from ..services.rooms.participants import Participants
from .codec import Asked, Handshake
from .connection import SocketIOConnection


class _HandshakeAuth(Struct, forbid_unknown_fields=True):
    token: str | None = None


_handshake = msgspec.json.Decoder(_HandshakeAuth)


class SocketIOEvents:
    def __init__(self, dispatcher: Dispatcher, participants: Participants) -> None:
        self._dispatcher = dispatcher
        self._participants = participants

    async def identify(
        self, connection: SocketIOConnection, handshake: Handshake | None
    ) -> Authenticated | None:
        """The identity of the handshake's token; None without one. Raises what refuses the connection."""
        if handshake is None:
            return None
        token = decode(handshake.text.encode("utf-8", "surrogatepass"), _handshake).token
        return None if token is None else await self._participants.identify(connection, token)

    async def handle(self, connection: SocketIOConnection, asked: Asked) -> None:
        """Handle one event. The next one of this client waits for it, but not for a ballot's receipt."""
        reply = partial(connection.reply, asked)
        try:
            message = asked.read()
        except Refused as refused:
            if connection.over:
                self._dispatcher.over_limit(connection, connection.over, refused.id, reply)
            else:
                reply(ErrorMessage.of(refused.error, refused.id))
            return
        if connection.over:
            self._dispatcher.over_limit(connection, connection.over, message.id, reply)
        else:
            self._dispatcher.charge(connection, message)
            await self._dispatcher.dispatch(connection, message, reply)
