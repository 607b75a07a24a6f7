"""How a connection proves who it is and joins rooms."""

from typing import Any

from msgspec import UNSET

from ...domain.ballots import YourVote
from ...domain.errors import PollroomError, invalid, unavailable
from ...domain.users import UserView
from ...domain.values import rfc3339
from ...domain.visibility import may_see, tally
from ...ports.clock import Clock
from ..accounts.sessions import Sessions
from ..polls.poll_reader import Reading
from ..voting.votes import Votes
from .broadcaster import Broadcaster
from .connections import ConnectionRegistry
from .deck_feeds import TRIES, DeckFeeds
from .feed import Feed
from .memberships import MAX_ROOMS
from .messages import Authenticated, DeckStateMessage, JoinDeck, JoinPoll, PollStateMessage
from .room import Connection, Role
from .rooms import Rooms


class Participants:
    def __init__(
        self,
        auth: Sessions,
        votes: Votes,
        broadcaster: Broadcaster,
        decks: DeckFeeds,
        registry: ConnectionRegistry,
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._votes = votes
        self._broadcaster = broadcaster
        self._decks = decks
        self._registry = registry
        self._clock = clock

    def opened(self, rooms: Rooms[Any, Any]) -> None:
        """Deliver the feeds to a transport's rooms from now on."""
        self._broadcaster.rooms.append(rooms)
        rooms.on_viewers_changed = self._broadcaster.viewers_changed
        rooms.on_rights_changed = self._broadcaster.mark_dirty
        rooms.on_deck_viewers_changed = self._decks.viewers_changed

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
        if not connection.home.shows(connection, poll_id):
            _check_rooms(connection)
        return poll_id

    async def deck_id(self, connection: Connection, message: JoinDeck) -> str:
        if (message.deck_id is UNSET) == (message.code is UNSET):
            raise invalid("deckId", "deckId or code is required, not both")
        if message.deck_id is not UNSET:
            return message.deck_id
        return await self._votes.find_deck(str(message.code), connection.client)

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
        return self._state(connection, feed, reading, role)

    async def join_deck(
        self, connection: Connection, deck_id: str
    ) -> tuple[DeckStateMessage, PollStateMessage | None] | None:
        """Join a deck's room, like ``join``. The second is the state of the current poll, if there is one."""
        voter_id = connection.identity.user.id if connection.identity else None
        async with self._decks.joining(deck_id) as deck:
            for _ in range(TRIES):
                poll_id, poll = deck.poll_id, None
                if poll_id is not None:
                    try:
                        poll = await self._broadcaster.subscribe(poll_id, voter_id)
                    except PollroomError as error:
                        if error.code != "NOT_FOUND":
                            raise
                        self._decks.poll_gone(poll_id)
                if connection.closed:
                    return None
                if deck.poll_id == (poll_id if poll is not None else None):
                    break
            else:
                raise unavailable()
            if deck_id not in connection.decks and poll_id not in connection.rooms:
                _check_rooms(connection)
            owner = deck.deck is not None and voter_id == deck.deck.owner_id
            role = _role(poll[1], voter_id) if poll is not None else Role.OWNER if owner else Role.STRANGER
            connection.home.join_deck(connection, deck_id, poll_id, role)
            connection.forget(deck_id)
            state = DeckStateMessage(deck.view(), deck.viewers.total, rfc3339(self._clock.now()))
            return state, self._state(connection, *poll, role) if poll is not None else None

    def _state(self, connection: Connection, feed: Feed, reading: Reading, role: Role) -> PollStateMessage:
        connection.forget(feed.poll_id)
        for deck_id in connection.decks:
            connection.keep_change(deck_id)  # with an older tally of this poll, perhaps
        rules, state = feed.rules, feed.state
        counts = may_see(rules, state, owner=role is Role.OWNER, voted=role is not Role.STRANGER)
        return PollStateMessage(
            feed.show(rules, state),
            tally(rules, state, counts=counts),
            feed.viewers.total,
            YourVote.of(reading.vote),
            rfc3339(max(self._clock.now(), state.now)),
        )


def _check_rooms(connection: Connection) -> None:
    if connection.home.occupied(connection) >= MAX_ROOMS:
        raise PollroomError(
            "RATE_LIMITED", f"A socket joins at most {MAX_ROOMS} polls and decks.", retry_after=1.0
        )


def _role(reading: Reading, voter_id: str | None) -> Role:
    if voter_id == reading.rules.owner_id:
        return Role.OWNER
    voted = reading.vote is not None and reading.vote.accepted
    return Role.VOTER if voted else Role.STRANGER
