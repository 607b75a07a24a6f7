"""What a connection does besides talking: it proves who it is, comes into rooms, hands in ballots."""

import asyncio
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType

from ...domain.ballots import Receipt, YourVote
from ...domain.errors import PollroomError, invalid
from ...domain.users import Identity, UserView
from ...domain.values import is_id, rfc3339
from ...domain.visibility import may_see, tally
from ...domain.vote_forms import choices_of
from ...ports.clock import Clock
from ...utils import logger
from ..accounts.sessions import Sessions
from ..polls.poll_reader import Reading
from ..voting.votes import Votes
from .broadcaster import Broadcaster
from .connections import ConnectionRegistry
from .messages import (
    Authenticated,
    ErrorMessage,
    JoinPoll,
    Message,
    PollStateMessage,
    RetractVote,
    Vote,
    VoteAcceptedMessage,
    VoteRetractedMessage,
)
from .rooms import MAX_ROOMS, Connection, Role, Rooms

M = TypeVar("M", bound=Connection)

MAX_IN_FLIGHT: Final = 256
"""Ballots of one connection on their way; beyond that it is not read until half of them are answered."""

_log = logger.get(__name__)


class Participants:
    def __init__(
        self,
        auth: Sessions,
        votes: Votes,
        broadcaster: Broadcaster,
        registry: ConnectionRegistry,
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._votes = votes
        self._broadcaster = broadcaster
        self._registry = registry
        self._clock = clock

    def opened(self, rooms: Rooms[M]) -> None:
        """Rooms of a transport: from now on the feeds reach them."""
        self._broadcaster.sinks.append(rooms)
        rooms.on_viewers_changed = self._broadcaster.viewers_changed
        rooms.on_rights_changed = self._broadcaster.mark_dirty

    def identify(self, connection: Connection, token: str) -> Authenticated:
        """Bind the connection to a session. ``FORBIDDEN`` for another user's token; all else: it does not hold."""
        identity = self._auth.authenticate(token)
        if connection.identity is not None and connection.identity.user.id != identity.user.id:
            raise PollroomError("FORBIDDEN", "This socket belongs to another user.")
        self._registry.bind(connection, identity)
        return Authenticated(UserView.of(identity.user), rfc3339(identity.expires_at))

    async def poll_id(self, connection: Connection, message: JoinPoll) -> str:
        """Which poll is meant; ``RATE_LIMITED`` for one room too many."""
        if (message.poll_id is UNSET) == (message.code is UNSET):
            raise invalid("pollId", "pollId or code is required, not both")
        poll_id = message.poll_id
        if poll_id is UNSET:
            poll_id = await self._votes.find(str(message.code))
        if poll_id not in connection.rooms and len(connection.rooms) >= MAX_ROOMS:
            raise PollroomError("RATE_LIMITED", "A socket joins at most 100 polls.", retry_after=1.0)
        return poll_id

    async def enter(self, connection: Connection, poll_id: str) -> PollStateMessage | None:
        """Into the room; the state that this connection may see, to be sent before anything else is awaited.

        All later comes by the feed. None where the connection ended meanwhile.
        """
        voter_id = connection.identity.user.id if connection.identity else None
        feed, reading = await self._broadcaster.subscribe(poll_id, voter_id)
        if connection.closed:
            return None
        role = _role(reading, voter_id)
        connection.home.join(connection, poll_id, role)
        connection.forget(poll_id)
        rules, state = feed.rules, feed.state
        counts = may_see(rules, state, owner=role is Role.OWNER, voted=role is not Role.STRANGER)
        return PollStateMessage(
            feed.show(rules, state),
            tally(rules, state, counts=counts),
            feed.viewers.total,
            YourVote.of(reading.standing),
            rfc3339(max(self._clock.now(), state.now)),
        )

    def cast(self, connection: Connection, message: Vote | RetractVote) -> asyncio.Future[Receipt]:
        """Hand a ballot in, in calling order."""
        ballot_id = None if message.id is UNSET else message.id
        if isinstance(message, RetractVote):
            return self._votes.retract(_identified(connection), message.poll_id, ballot_id)
        choices = choices_of(message.option_ids, message.option_id)
        return self._votes.cast(_identified(connection), message.poll_id, ballot_id, choices)

    def outcome(
        self, connection: Connection, message: Vote | RetractVote, receipt: asyncio.Future[Receipt]
    ) -> VoteAcceptedMessage | VoteRetractedMessage | ErrorMessage:
        """What to answer to a ballot whose receipt came. Its voter may see more from now on."""
        error = receipt.exception()
        if isinstance(error, PollroomError):
            return refusal(message, error)
        if error is not None:
            _log.error("a ballot failed", error=repr(error)[:200])
            return refusal(message, PollroomError("INTERNAL"))
        found = receipt.result()
        if isinstance(message, RetractVote):
            return VoteRetractedMessage.of(found)
        connection.home.has_voted(connection, found.poll_id)
        return VoteAcceptedMessage.of(found)


def refusal(message: Message, error: PollroomError) -> ErrorMessage:
    """The contract's error, with what the message named."""
    named = getattr(message, "poll_id", UNSET)
    poll_id: str | UnsetType = named if isinstance(named, str) and is_id(named) else UNSET
    return ErrorMessage.of(error, message.id, poll_id)


def _identified(connection: Connection) -> Identity:
    if connection.identity is None:
        raise PollroomError("UNAUTHENTICATED")
    return connection.identity


def _role(reading: Reading, voter_id: str | None) -> Role:
    if voter_id == reading.rules.owner_id:
        return Role.OWNER
    voted = reading.standing is not None and reading.standing.accepted
    return Role.VOTER if voted else Role.STRANGER
