"""Events -> services -> callbacks. The contract's errors become ERROR objects for callbacks here and nowhere else."""

import asyncio
from functools import partial

import msgspec
from msgspec import Struct

from ..domain.ballots import Receipt
from ..domain.decoding import decode
from ..domain.errors import PollroomError
from ..services.rooms import messages
from ..services.rooms.connections import TOO_MANY, ConnectionRegistry
from ..services.rooms.messages import Authenticated, ErrorMessage, Message, Refused
from ..services.rooms.participants import LARGEST_IN_FLIGHT, Participants, refusal
from ..utils import logger
from .codec import Asked, Handshake
from .member import Member
from .rooms import Rooms

_log = logger.get(__name__)


class _Auth(Struct, forbid_unknown_fields=True):
    token: str | None = None


_handshake = msgspec.json.Decoder(_Auth)


class Events:
    def __init__(self, attending: Participants, rooms: Rooms, departures: ConnectionRegistry) -> None:
        self._attending = attending
        self._rooms = rooms
        self._departures = departures

    def identify(self, member: Member, handshake: Handshake | None) -> Authenticated | None:
        """Whom the handshake's token speaks for; none without one. Raises what refuses the connection."""
        if handshake is None:
            return None
        token = decode(handshake.text.encode("utf-8", "surrogatepass"), _handshake).token
        return None if token is None else self._attending.identify(member, token)

    async def handle(self, member: Member, asked: Asked) -> None:
        """One event; the next one of this client waits for it, but not for a ballot's receipt."""
        try:
            message = asked.read()
        except Refused as refused:
            if self._within_budget(member, asked, refused.id):
                member.reply(asked, ErrorMessage.of(refused.error, refused.id))
            return
        if not self._within_budget(member, asked, message.id):
            return
        try:
            await self._handle(member, asked, message)
        except PollroomError as error:
            member.reply(asked, refusal(message, error))
        except Exception:
            _log.exception("an event failed")
            member.reply(asked, refusal(message, PollroomError("INTERNAL")))

    async def _handle(self, member: Member, asked: Asked, message: Message) -> None:
        match message:
            case messages.Vote() | messages.RetractVote():
                self._on_its_way(member, asked, message)
            case messages.LeavePoll():
                self._rooms.leave(member, message.poll_id)
                member.reply(asked, messages.LeftPoll(message.poll_id))
            case messages.JoinPoll():
                state = await self._attending.enter(member, await self._attending.poll_id(member, message))
                if state is not None:
                    if asked.ack is not None:
                        member.reply(asked, state)  # before the event, whose handler may use what it learned
                    member.send(state)
            case messages.Auth():
                await self._authenticate(member, asked, message)

    async def _authenticate(self, member: Member, asked: Asked, message: messages.Auth) -> None:
        """``FORBIDDEN`` for another user's token; a token that does not hold ends the connection."""
        try:
            member.reply(asked, self._attending.identify(member, message.token))
        except PollroomError as error:
            if error.code == "FORBIDDEN":
                raise
            if asked.ack is not None:
                member.reply(asked, ErrorMessage.of(error, message.id))
            self._departures.refuse(member, error, message.id)
            return
        for poll_id in list(member.rooms):
            try:
                if (state := await self._attending.enter(member, poll_id)) is not None:
                    member.send(state)
            except PollroomError as error:
                member.send(ErrorMessage.of(error, poll_id=poll_id))

    def _on_its_way(
        self, member: Member, asked: Asked, message: messages.Vote | messages.RetractVote
    ) -> None:
        receipt = self._attending.cast(member, message)
        member.in_flight += 1
        if member.in_flight == LARGEST_IN_FLIGHT:
            member.pause_reading()
        receipt.add_done_callback(partial(self._answered, member, asked, message))

    def _answered(
        self,
        member: Member,
        asked: Asked,
        message: messages.Vote | messages.RetractVote,
        receipt: "asyncio.Future[Receipt]",
    ) -> None:
        member.in_flight -= 1
        if member.in_flight == LARGEST_IN_FLIGHT // 2:
            member.resume_reading()
        member.reply(asked, self._attending.outcome(member, message, receipt))

    def _within_budget(self, member: Member, asked: Asked, id: "str | msgspec.UnsetType") -> bool:
        if not member.over:
            return True
        member.reply(asked, ErrorMessage.of(PollroomError("RATE_LIMITED", retry_after=member.over), id))
        if member.budget.ignored:
            self._departures.end(member, TOO_MANY)
        return False
