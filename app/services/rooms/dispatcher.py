"""From messages to services and back to answers: one for every socket transport.

The contract's errors become ``ERROR`` messages here and nowhere else.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from ...domain.ballots import Receipt
from ...domain.close_codes import CloseCode
from ...domain.errors import PollroomError
from ...domain.values import is_id, rfc3339
from ...domain.vote_forms import choices_of
from ...ports.clock import Clock
from ...utils import logger
from ..voting.votes import Votes
from .connections import ConnectionRegistry
from .messages import (
    Auth,
    ClientMessage,
    ErrorMessage,
    JoinDeck,
    JoinPoll,
    LeaveDeck,
    LeavePoll,
    LeftDeck,
    LeftPoll,
    Ping,
    Pong,
    RetractVote,
    Vote,
    VoteAcceptedMessage,
    VoteRetractedMessage,
)
from .participants import Participants
from .room import Connection

MAX_IN_FLIGHT: Final = 256
"""Unanswered ballots of one connection; beyond that it is not read until half of them are answered."""

Reply = Callable[[Struct], bool | None]
"""Sends the answer to one message. True if only the callback of that message gets it, not whoever listens to the connection."""

_log = logger.get(__name__)


class Dispatcher:
    def __init__(
        self, participants: Participants, votes: Votes, registry: ConnectionRegistry, clock: Clock
    ) -> None:
        self._participants = participants
        self._votes = votes
        self._registry = registry
        self._clock = clock

    def dispatch_now(self, connection: Connection, message: ClientMessage, reply: Reply) -> bool:
        """Handle a message that waits for nothing, in order of arrival. False for the others."""
        try:
            match message:
                case Vote() | RetractVote():
                    self._cast(connection, message, reply)
                case Ping():
                    reply(Pong(rfc3339(self._clock.now())))
                case LeavePoll():
                    connection.home.leave(connection, message.poll_id)
                    reply(LeftPoll(message.poll_id))
                case LeaveDeck():
                    connection.home.leave_deck(connection, message.deck_id)
                    reply(LeftDeck(message.deck_id))
                case _:
                    return False
        except PollroomError as error:
            reply(refusal(message, error))
        except Exception:
            _log.exception("message failed", type=type(message).__name__)
            reply(refusal(message, PollroomError("INTERNAL")))
        return True

    async def dispatch(self, connection: Connection, message: ClientMessage, reply: Reply) -> None:
        """Handle any message. The next message of the connection must wait for it, but not for a ballot's receipt."""
        if self.dispatch_now(connection, message, reply):
            return
        try:
            match message:
                case Auth():
                    await self._authenticate(connection, message, reply)
                case JoinPoll():
                    poll_id = await self._participants.poll_id(connection, message)
                    if (state := await self._participants.join(connection, poll_id)) is not None and reply(
                        state
                    ):
                        connection.send(state)  # after the answer, which may tell the listener what it needs
                case JoinDeck():
                    deck_id = await self._participants.deck_id(connection, message)
                    if (states := await self._participants.join_deck(connection, deck_id)) is not None:
                        deck, poll = states
                        if reply(deck):
                            connection.send(deck)
                        if poll is not None:
                            connection.send(poll)
        except PollroomError as error:
            reply(refusal(message, error))
        except Exception:
            _log.exception("message failed", type=type(message).__name__)
            reply(refusal(message, PollroomError("INTERNAL")))

    def over_limit(
        self, connection: Connection, retry_after: float, id: str | UnsetType, reply: Reply
    ) -> None:
        """Refuse a message that exceeds the connection's rate limit. A client that ignores this is disconnected."""
        reply(ErrorMessage.of(PollroomError("RATE_LIMITED", retry_after=retry_after), id))
        if connection.rate_limit.ignored:
            self._registry.end(connection, CloseCode.TOO_MANY_MESSAGES)

    @staticmethod
    def charge(connection: Connection, message: ClientMessage) -> None:
        """Count what a message costs beyond others, as soon as it arrives: ``AUTH`` joins every room again."""
        if isinstance(message, Auth):
            connection.rate_limit.charge(len(connection.rooms) + len(connection.decks))

    async def _authenticate(self, connection: Connection, message: Auth, reply: Reply) -> None:
        """``FORBIDDEN`` for another user's token. An invalid token ends the connection."""
        try:
            reply(await self._participants.identify(connection, message.token))
        except PollroomError as error:
            if error.code == "FORBIDDEN":
                raise
            refused = ErrorMessage.of(error, message.id)
            if reply(refused):
                connection.send(refused)
            self._registry.end(connection, CloseCode.TOKEN_INVALID)
            return
        for deck_id in list(connection.decks):
            try:
                if (states := await self._participants.join_deck(connection, deck_id)) is not None:
                    for state in filter(None, states):
                        connection.send(state)
            except PollroomError as error:
                connection.send(ErrorMessage.of(error))
        for poll_id in list(connection.rooms):
            try:
                if (joined := await self._participants.join(connection, poll_id)) is not None:
                    connection.send(joined)
            except PollroomError as error:
                connection.send(ErrorMessage.of(error, poll_id=poll_id))

    def _cast(self, connection: Connection, message: Vote | RetractVote, reply: Reply) -> None:
        choices = (
            () if isinstance(message, RetractVote) else choices_of(message.option_ids, message.option_id)
        )
        if connection.identity is None:
            raise PollroomError("UNAUTHENTICATED")
        ballot_id = None if message.id is UNSET else message.id
        if isinstance(message, RetractVote):
            receipt = self._votes.retract(connection.identity, message.poll_id, ballot_id)
        else:
            receipt = self._votes.cast(connection.identity, message.poll_id, ballot_id, choices)
        connection.in_flight += 1
        if connection.in_flight == MAX_IN_FLIGHT:
            connection.pause_reading()
        receipt.add_done_callback(partial(self._answer, connection, message, reply))

    def _answer(
        self,
        connection: Connection,
        message: Vote | RetractVote,
        reply: Reply,
        receipt: "asyncio.Future[Receipt]",
    ) -> None:
        connection.in_flight -= 1
        if connection.in_flight == MAX_IN_FLIGHT // 2:
            connection.resume_reading()
        error = receipt.exception()
        if error is not None:
            if not isinstance(error, PollroomError):
                _log.error("ballot failed", error=repr(error)[:200])
                error = PollroomError("INTERNAL")
            reply(refusal(message, error))
        elif isinstance(message, RetractVote):
            reply(VoteRetractedMessage.of(receipt.result()))
        else:
            found = receipt.result()
            connection.home.has_voted(connection, found.poll_id)
            reply(VoteAcceptedMessage.of(found))


def refusal(message: ClientMessage, error: PollroomError) -> ErrorMessage:
    """The error, with the ``id`` and ``pollId`` of the message."""
    named = getattr(message, "poll_id", UNSET)
    poll_id: str | UnsetType = named if isinstance(named, str) and is_id(named) else UNSET
    return ErrorMessage.of(error, message.id, poll_id)
