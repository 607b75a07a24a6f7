"""Messages -> services -> answers. The contract's errors become ERROR frames here and nowhere else."""

import asyncio
from functools import partial

from msgspec import UNSET, UnsetType

from ..domain.ballots import Receipt
from ..domain.errors import PollroomError
from ..domain.values import rfc3339
from ..ports.clock import Clock
from ..services.rooms import messages
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.messages import ErrorMessage
from ..services.rooms.participants import MAX_IN_FLIGHT, Participants, refusal
from ..utils import logger
from .codec import AnyMessage, Ping, Pong
from .outbox import Outbox
from .rooms import WebSocketRooms

_log = logger.get(__name__)


class Events:
    def __init__(
        self, participants: Participants, rooms: WebSocketRooms, registry: ConnectionRegistry, clock: Clock
    ) -> None:
        self._participants = participants
        self.rooms = rooms
        self._registry = registry
        self._clock = clock

    def dispatch_now(self, connection: Outbox, message: AnyMessage) -> bool:
        """Handle what needs no waiting, in order of arrival; false for the rest."""
        try:
            match message:
                case messages.Vote() | messages.RetractVote():
                    self._cast(connection, message)
                case Ping():
                    connection.send(Pong(rfc3339(self._clock.now())))
                case messages.LeavePoll():
                    self.rooms.leave(connection, message.poll_id)
                    connection.send(messages.LeftPoll(message.poll_id))
                case _:
                    return False
        except PollroomError as error:
            connection.send(refusal(message, error))
        return True

    async def dispatch(self, connection: Outbox, message: AnyMessage) -> None:
        """Handle any message; the next one of this socket waits for it."""
        if self.dispatch_now(connection, message):
            return
        try:
            match message:
                case messages.Auth():
                    await self.authenticate(connection, message.token, message.id)
                case messages.JoinPoll():
                    await self._enter(connection, await self._participants.poll_id(connection, message))
        except PollroomError as error:
            connection.send(refusal(message, error))
        except Exception:
            _log.exception("a message failed")
            connection.send(refusal(message, PollroomError("INTERNAL")))

    async def authenticate(self, connection: Outbox, token: str, id: str | UnsetType = UNSET) -> None:
        """``FORBIDDEN`` for another user's token; a token that does not hold ends the connection."""
        try:
            connection.send(self._participants.identify(connection, token))
        except PollroomError as error:
            if error.code == "FORBIDDEN":
                raise
            self._registry.refuse(connection, error, id)
            return
        for poll_id in list(connection.rooms):
            try:
                await self._enter(connection, poll_id)
            except PollroomError as error:
                connection.send(ErrorMessage.of(error, poll_id=poll_id))

    async def _enter(self, connection: Outbox, poll_id: str) -> None:
        if (state := await self._participants.enter(connection, poll_id)) is not None:
            connection.send(state)

    def _cast(self, connection: Outbox, message: messages.Vote | messages.RetractVote) -> None:
        receipt = self._participants.cast(connection, message)
        connection.in_flight += 1
        if connection.in_flight == MAX_IN_FLIGHT:
            connection.wire.pause_reading()
        receipt.add_done_callback(partial(self._answered, connection, message))

    def _answered(
        self,
        connection: Outbox,
        message: messages.Vote | messages.RetractVote,
        receipt: "asyncio.Future[Receipt]",
    ) -> None:
        connection.in_flight -= 1
        if connection.in_flight == MAX_IN_FLIGHT // 2:
            connection.wire.resume_reading()
        connection.send(self._participants.outcome(connection, message, receipt))
