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
from ..services.rooms.participants import LARGEST_IN_FLIGHT, Participants, refusal
from ..utils import logger
from .codec import AnyMessage, Ping, Pong
from .outbox import Member
from .rooms import Rooms

_log = logger.get(__name__)


class Events:
    def __init__(
        self, attending: Participants, rooms: Rooms, departures: ConnectionRegistry, clock: Clock
    ) -> None:
        self._attending = attending
        self.rooms = rooms
        self._departures = departures
        self._clock = clock

    def at_once(self, member: Member, message: AnyMessage) -> bool:
        """Handle what needs no waiting, in order of arrival; false for the rest."""
        try:
            match message:
                case messages.Vote() | messages.RetractVote():
                    self._on_its_way(member, message)
                case Ping():
                    member.send(Pong(rfc3339(self._clock.now())))
                case messages.LeavePoll():
                    self.rooms.leave(member, message.poll_id)
                    member.send(messages.LeftPoll(message.poll_id))
                case _:
                    return False
        except PollroomError as error:
            member.send(refusal(message, error))
        return True

    async def in_turn(self, member: Member, message: AnyMessage) -> None:
        """Handle any message; the next one of this socket waits for it."""
        if self.at_once(member, message):
            return
        try:
            match message:
                case messages.Auth():
                    await self.authenticate(member, message.token, message.id)
                case messages.JoinPoll():
                    await self._enter(member, await self._attending.poll_id(member, message))
        except PollroomError as error:
            member.send(refusal(message, error))
        except Exception:
            _log.exception("a message failed")
            member.send(refusal(message, PollroomError("INTERNAL")))

    async def authenticate(self, member: Member, token: str, id: str | UnsetType = UNSET) -> None:
        """``FORBIDDEN`` for another user's token; a token that does not hold ends the connection."""
        try:
            member.send(self._attending.identify(member, token))
        except PollroomError as error:
            if error.code == "FORBIDDEN":
                raise
            self._departures.refuse(member, error, id)
            return
        for poll_id in list(member.rooms):
            try:
                await self._enter(member, poll_id)
            except PollroomError as error:
                member.send(ErrorMessage.of(error, poll_id=poll_id))

    async def _enter(self, member: Member, poll_id: str) -> None:
        if (state := await self._attending.enter(member, poll_id)) is not None:
            member.send(state)

    def _on_its_way(self, member: Member, message: messages.Vote | messages.RetractVote) -> None:
        receipt = self._attending.cast(member, message)
        member.in_flight += 1
        if member.in_flight == LARGEST_IN_FLIGHT:
            member.wire.pause_reading()
        receipt.add_done_callback(partial(self._answered, member, message))

    def _answered(
        self,
        member: Member,
        message: messages.Vote | messages.RetractVote,
        receipt: "asyncio.Future[Receipt]",
    ) -> None:
        member.in_flight -= 1
        if member.in_flight == LARGEST_IN_FLIGHT // 2:
            member.wire.resume_reading()
        member.send(self._attending.outcome(member, message, receipt))
