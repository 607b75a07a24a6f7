"""Messages -> services -> answers. The contract's errors become ERROR frames here and nowhere else."""

import asyncio
from functools import partial
from typing import Final

from msgspec import UNSET, UnsetType

from app.modules.types import is_id, rfc3339
from app.modules.user.types import Identity, UserView
from app.modules.vote.forms import choices_of
from app.modules.vote.types import Receipt, YourVote
from app.ports import Clock
from app.services.auth import Auth
from app.services.broadcast import Broadcast
from app.services.feed import Feed
from app.services.reading import Reading, may_see, tally
from app.services.vote import Votes
from app.utils import logger
from app.utils.errors import PollroomError, invalid
from app.websocket import messages
from app.websocket.disconnect import Departures
from app.websocket.member import Member, Role
from app.websocket.messages import AnyMessage, ErrorMessage
from app.websocket.rooms import LARGEST_NUMBER_OF_ROOMS, Rooms

LARGEST_IN_FLIGHT: Final = 256
"""Ballots of one socket on their way; beyond that it is not read until half of them are answered."""

_log = logger.get(__name__)


class Events:
    def __init__(
        self,
        auth: Auth,
        votes: Votes,
        broadcast: Broadcast,
        rooms: Rooms,
        departures: Departures,
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._votes = votes
        self._broadcast = broadcast
        self._rooms = rooms
        self._departures = departures
        self._clock = clock
        rooms.on_viewers = broadcast.viewers_changed
        rooms.on_right = broadcast.mark

    def at_once(self, member: Member, message: AnyMessage) -> bool:
        """Handle what needs no waiting, in order of arrival; false for the rest."""
        try:
            match message:
                case messages.Vote():
                    self._vote(member, message)
                case messages.RetractVote():
                    self._retract(member, message)
                case messages.Ping():
                    member.send(messages.Pong(rfc3339(self._clock.now())))
                case messages.LeavePoll():
                    self._rooms.leave(member, message.poll_id)
                    member.send(messages.LeftPoll(message.poll_id))
                case _:
                    return False
        except PollroomError as error:
            self._refuse(member, message, error)
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
                    await self._join(member, message)
        except PollroomError as error:
            self._refuse(member, message, error)
        except Exception:
            _log.exception("a message failed")
            self._refuse(member, message, PollroomError("INTERNAL"))

    async def authenticate(self, member: Member, token: str, id: str | UnsetType = UNSET) -> None:
        """``FORBIDDEN`` for another user's token; a token that does not hold ends the connection."""
        try:
            identity = self._auth.authenticate(token)
        except PollroomError as error:
            self._departures.refuse(member, error, id)
            return
        if member.identity is not None and member.identity.user.id != identity.user.id:
            raise PollroomError("FORBIDDEN", "This socket belongs to another user.")
        self._departures.identified(member, identity)
        view = UserView.of(identity.user)
        member.send(messages.Authenticated(view, rfc3339(identity.expires_at)))
        for poll_id in list(member.rooms):
            try:
                await self._show(member, poll_id)
            except PollroomError as error:
                member.send(ErrorMessage.of(error, poll_id=poll_id))

    async def _join(self, member: Member, message: messages.JoinPoll) -> None:
        if (message.poll_id is UNSET) == (message.code is UNSET):
            raise invalid("pollId", "pollId or code is required, not both")
        poll_id = message.poll_id
        if poll_id is UNSET:
            poll_id = await self._votes.find(str(message.code))
        if poll_id not in member.rooms and len(member.rooms) >= LARGEST_NUMBER_OF_ROOMS:
            raise PollroomError("RATE_LIMITED", "A socket joins at most 100 polls.", retry_after=1.0)
        await self._show(member, poll_id)

    async def _show(self, member: Member, poll_id: str) -> None:
        """Into the room, with the state that this member may see; everything later comes by the feed."""
        voter_id = member.identity.user.id if member.identity else None
        feed, reading = await self._broadcast.watch(poll_id, voter_id)
        if member.closed:
            return
        role = _role(reading, voter_id)
        self._rooms.join(member, poll_id, role)
        member.state(poll_id, self._state(feed, reading, role))

    def _state(self, feed: Feed, reading: Reading, role: Role) -> messages.PollStateMessage:
        rules, state = feed.rules, feed.state
        counts = may_see(rules, state, owner=role is Role.OWNER, voted=role is not Role.STRANGER)
        return messages.PollStateMessage(
            feed.show(rules, state),
            tally(rules, state, counts=counts),
            feed.viewers.total,
            YourVote.of(reading.standing),
            rfc3339(self._clock.now()),
        )

    def _vote(self, member: Member, message: messages.Vote) -> None:
        choices = choices_of(message.option_ids, message.option_id)
        ballot_id = None if message.id is UNSET else message.id
        receipt = self._votes.cast(_identified(member), message.poll_id, ballot_id, choices)
        self._on_its_way(member, message, receipt)

    def _retract(self, member: Member, message: messages.RetractVote) -> None:
        ballot_id = None if message.id is UNSET else message.id
        self._on_its_way(
            member, message, self._votes.retract(_identified(member), message.poll_id, ballot_id)
        )

    def _on_its_way(
        self, member: Member, message: messages.Vote | messages.RetractVote, receipt: asyncio.Future[Receipt]
    ) -> None:
        member.in_flight += 1
        if member.in_flight == LARGEST_IN_FLIGHT:
            member.wire.pause_reading()
        receipt.add_done_callback(partial(self._answered, member, message))

    def _answered(
        self,
        member: Member,
        message: "messages.Vote | messages.RetractVote",
        answer: "asyncio.Future[Receipt]",
    ) -> None:
        member.in_flight -= 1
        if member.in_flight == LARGEST_IN_FLIGHT // 2:
            member.wire.resume_reading()
        error = answer.exception()
        if isinstance(error, PollroomError):
            self._refuse(member, message, error)
            return
        if error is not None:
            _log.error("a ballot failed", error=repr(error)[:200])
            self._refuse(member, message, PollroomError("INTERNAL"))
            return
        receipt = answer.result()
        if isinstance(message, messages.RetractVote):
            member.send(messages.Retracted(receipt.id, receipt.poll_id, receipt.seq, receipt.repeated))
            return
        member.send(
            messages.Accepted(
                receipt.id,
                receipt.poll_id,
                receipt.choices,
                receipt.seq,
                rfc3339(receipt.cast_at),
                receipt.repeated,
            )
        )
        self._rooms.has_voted(member, receipt.poll_id)

    def _refuse(self, member: Member, message: AnyMessage, error: PollroomError) -> None:
        named = getattr(message, "poll_id", UNSET)
        poll_id: str | UnsetType = named if isinstance(named, str) and is_id(named) else UNSET
        member.send(ErrorMessage.of(error, message.id, poll_id))


def _identified(member: Member) -> Identity:
    if member.identity is None:
        raise PollroomError("UNAUTHENTICATED")
    return member.identity


def _role(reading: Reading, voter_id: str | None) -> Role:
    if voter_id == reading.rules.owner_id:
        return Role.OWNER
    voted = reading.standing is not None and reading.standing.accepted
    return Role.VOTER if voted else Role.STRANGER
