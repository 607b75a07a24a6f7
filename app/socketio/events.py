"""Events -> services -> callbacks. The contract's errors become ERROR objects for callbacks here and nowhere else."""

import asyncio
from functools import partial

import msgspec
from msgspec import Struct

from ..domain.ballots import Receipt
from ..domain.close_codes import CloseCode
from ..domain.decoding import decode
from ..domain.errors import PollroomError
from ..services.rooms import messages
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.messages import Authenticated, ErrorMessage, Message, Refused
from ..services.rooms.participants import MAX_IN_FLIGHT, Participants, refusal
from ..utils import logger
from .codec import Asked, Handshake
from .connection import SocketIOConnection
from .rooms import SocketIORooms

_log = logger.get(__name__)


class _Auth(Struct, forbid_unknown_fields=True):
    token: str | None = None


_handshake = msgspec.json.Decoder(_Auth)


class Events:
    def __init__(
        self, participants: Participants, rooms: SocketIORooms, registry: ConnectionRegistry
    ) -> None:
        self._participants = participants
        self._rooms = rooms
        self._registry = registry

    def identify(self, connection: SocketIOConnection, handshake: Handshake | None) -> Authenticated | None:
        """Whom the handshake's token speaks for; none without one. Raises what refuses the connection."""
        if handshake is None:
            return None
        token = decode(handshake.text.encode("utf-8", "surrogatepass"), _handshake).token
        return None if token is None else self._participants.identify(connection, token)

    async def handle(self, connection: SocketIOConnection, asked: Asked) -> None:
        """One event; the next one of this client waits for it, but not for a ballot's receipt."""
        try:
            message = asked.read()
        except Refused as refused:
            if self._within_rate(connection, asked, refused.id):
                connection.reply(asked, ErrorMessage.of(refused.error, refused.id))
            return
        if not self._within_rate(connection, asked, message.id):
            return
        try:
            await self._handle(connection, asked, message)
        except PollroomError as error:
            connection.reply(asked, refusal(message, error))
        except Exception:
            _log.exception("an event failed")
            connection.reply(asked, refusal(message, PollroomError("INTERNAL")))

    async def _handle(self, connection: SocketIOConnection, asked: Asked, message: Message) -> None:
        match message:
            case messages.Vote() | messages.RetractVote():
                self._cast(connection, asked, message)
            case messages.LeavePoll():
                self._rooms.leave(connection, message.poll_id)
                connection.reply(asked, messages.LeftPoll(message.poll_id))
            case messages.JoinPoll():
                state = await self._participants.enter(
                    connection, await self._participants.poll_id(connection, message)
                )
                if state is not None:
                    if asked.ack is not None:
                        connection.reply(
                            asked, state
                        )  # before the event, whose handler may use what it learned
                    connection.send(state)
            case messages.Auth():
                await self._authenticate(connection, asked, message)

    async def _authenticate(
        self, connection: SocketIOConnection, asked: Asked, message: messages.Auth
    ) -> None:
        """``FORBIDDEN`` for another user's token; a token that does not hold ends the connection."""
        try:
            connection.reply(asked, self._participants.identify(connection, message.token))
        except PollroomError as error:
            if error.code == "FORBIDDEN":
                raise
            if asked.ack is not None:
                connection.reply(asked, ErrorMessage.of(error, message.id))
            self._registry.refuse(connection, error, message.id)
            return
        for poll_id in list(connection.rooms):
            try:
                if (state := await self._participants.enter(connection, poll_id)) is not None:
                    connection.send(state)
            except PollroomError as error:
                connection.send(ErrorMessage.of(error, poll_id=poll_id))

    def _cast(
        self, connection: SocketIOConnection, asked: Asked, message: messages.Vote | messages.RetractVote
    ) -> None:
        receipt = self._participants.cast(connection, message)
        connection.in_flight += 1
        if connection.in_flight == MAX_IN_FLIGHT:
            connection.pause_reading()
        receipt.add_done_callback(partial(self._answered, connection, asked, message))

    def _answered(
        self,
        connection: SocketIOConnection,
        asked: Asked,
        message: messages.Vote | messages.RetractVote,
        receipt: "asyncio.Future[Receipt]",
    ) -> None:
        connection.in_flight -= 1
        if connection.in_flight == MAX_IN_FLIGHT // 2:
            connection.resume_reading()
        connection.reply(asked, self._participants.outcome(connection, message, receipt))

    def _within_rate(
        self, connection: SocketIOConnection, asked: Asked, id: "str | msgspec.UnsetType"
    ) -> bool:
        if not connection.over:
            return True
        connection.reply(
            asked, ErrorMessage.of(PollroomError("RATE_LIMITED", retry_after=connection.over), id)
        )
        if connection.rate_limit.ignored:
            self._registry.end(connection, CloseCode.TOO_MANY_MESSAGES)
        return False
