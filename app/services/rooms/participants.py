"""How a connection proves who it is and joins rooms."""

from typing import Any

from msgspec import UNSET

from ...domain.ballots import YourVote
from ...domain.errors import PollroomError, invalid
from ...domain.users import UserView
from ...domain.values import rfc3339
from ...domain.visibility import may_see, tally
from ...ports.clock import Clock
from ..accounts.sessions import Sessions
from ..polls.poll_reader import Reading
from ..voting.votes import Votes
from .broadcaster import Broadcaster
from .connections import ConnectionRegistry
from .messages import Authenticated, JoinPoll, PollStateMessage
from .rooms import MAX_ROOMS, Connection, Role, Rooms


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

    def opened(self, rooms: Rooms[Any, Any]) -> None:
        """Deliver the feeds to a transport's rooms from now on."""
        self._broadcaster.rooms.append(rooms)
        rooms.on_viewers_changed = self._broadcaster.viewers_changed
        rooms.on_rights_changed = self._broadcaster.mark_dirty

    async def identify(self, connection: Connection, token: str) -> Authenticated:
        """Bind the connection to a session. ``FORBIDDEN`` for another user's token; every other error: an invalid token."""
        await self._auth.prepare(token)
        identity = self._auth.authenticate(token)
        if connection.identity is not None and connection.identity.user.id != identity.user.id:
            raise PollroomError("FORBIDDEN", "This socket belongs to another user.")
        self._registry.bind(connection, identity)
        return Authenticated(UserView.of(identity.user), rfc3339(identity.expires_at))

    async def poll_id(self, connection: Connection, message: JoinPoll) -> str:
        """The poll to join. ``RATE_LIMITED`` if the connection is in ``MAX_ROOMS`` rooms already."""
        if (message.poll_id is UNSET) == (message.code is UNSET):
            raise invalid("pollId", "pollId or code is required, not both")
        poll_id = message.poll_id
        if poll_id is UNSET:
            poll_id = await self._votes.find(connection.identity, str(message.code), connection.client)
        if poll_id not in connection.rooms and len(connection.rooms) >= MAX_ROOMS:
            raise PollroomError("RATE_LIMITED", "A socket joins at most 100 polls.", retry_after=1.0)
        return poll_id

    async def join(self, connection: Connection, poll_id: str) -> PollStateMessage | None:
        """Join the room. Returns the state that the connection may see, or None if it ended meanwhile.

        Send the state before the next ``await``: everything newer comes through the feed.
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
            YourVote.of(reading.vote),
            rfc3339(max(self._clock.now(), state.now)),
        )


def _role(reading: Reading, voter_id: str | None) -> Role:
    if voter_id == reading.rules.owner_id:
        return Role.OWNER
    voted = reading.vote is not None and reading.vote.accepted
    return Role.VOTER if voted else Role.STRANGER
