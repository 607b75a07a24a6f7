"""The messages of a socket, whichever transport carries it.

``ClientMessage`` is the one list of what clients send: decoders, Socket.IO's event names and the AsyncAPI document follow it.
A message's docstring is its summary there.
"""

from typing import ClassVar, Final, get_args

from msgspec import UNSET, Struct, UnsetType

from ...domain.ballots import Receipt, Tally, VoteAccepted, VoteRetracted, YourVote
from ...domain.decks import DeckView
from ...domain.errors import PollroomError
from ...domain.polls import PollView
from ...domain.users import UserView
from ...domain.values import BallotId, Camel, rfc3339


class Reconnect(Camel):
    """Seconds; see the close codes of the contract."""

    min_delay: float
    max_delay: float


class Welcome(Camel, tag_field="type", tag="WELCOME"):
    """Always first. Sizes in bytes, intervals and delays in seconds. ``features``: later additions to the contract."""

    server_time: str
    connection_id: str
    max_message_bytes: int
    ping_interval: float
    reconnect: Reconnect
    features: tuple[str, ...] = ("challenge", "deck", "pause", "reveal", "rounds", "stream", "verifiable")


class Authenticated(Camel, tag_field="type", tag="AUTHENTICATED"):
    """The token is valid; `DECK_STATE` and `POLL_STATE` follow for each joined deck and poll."""

    user: UserView
    expires_at: str


class PollStateMessage(Camel, tag_field="type", tag="POLL_STATE"):
    """A poll as this socket may see it now."""

    poll: PollView
    tally: Tally
    viewers: int
    your_vote: YourVote | None
    server_time: str


class PollUpdate(Camel, tag_field="type", tag="POLL_UPDATE"):
    """The newest tally, at most one per tick and room; also sent when only `viewers` changed."""

    poll_id: str
    tally: Tally
    viewers: int
    server_time: str


class PollChanged(Camel, tag_field="type", tag="POLL_CHANGED"):
    """Sent after every edit, opening and closing."""

    poll: PollView
    tally: Tally
    server_time: str


class PollDeleted(Camel, tag_field="type", tag="POLL_DELETED"):
    """The poll was deleted, and the socket has left its room."""

    poll_id: str


class LeftPoll(Camel, tag_field="type", tag="LEFT_POLL"):
    """The socket has left the room."""

    poll_id: str


class DeckStateMessage(Camel, tag_field="type", tag="DECK_STATE"):
    """A deck as it is now, without `polls`; `POLL_STATE` of its current poll follows, if there is one."""

    deck: DeckView
    viewers: int
    server_time: str


class DeckChanged(Camel, tag_field="type", tag="DECK_CHANGED"):
    """The deck has another `version`, and the socket is in the room of `poll`, if it is not null."""

    deck: DeckView
    poll: PollView | None
    tally: Tally | None
    viewers: int
    server_time: str


class DeckUpdate(Camel, tag_field="type", tag="DECK_UPDATE"):
    """`viewers` changed while no poll is current; at most one per tick, or per second above 500 sockets."""

    deck_id: str
    viewers: int
    server_time: str


class DeckDeleted(Camel, tag_field="type", tag="DECK_DELETED"):
    """The deck was deleted, and the socket has left its room."""

    deck_id: str


class LeftDeck(Camel, tag_field="type", tag="LEFT_DECK"):
    """The socket has left the deck's room."""

    deck_id: str


class VoteAcceptedMessage(VoteAccepted, tag_field="type", tag="VOTE_ACCEPTED"):
    """The ballot counts and is stored."""

    @classmethod
    def of(cls, receipt: Receipt) -> "VoteAcceptedMessage":
        cast_at = rfc3339(receipt.cast_at)
        return cls(receipt.id, receipt.poll_id, receipt.choices, receipt.seq, cast_at, receipt.repeated)


class VoteRetractedMessage(VoteRetracted, tag_field="type", tag="VOTE_RETRACTED"):
    """The ballot is withdrawn, and that is stored."""

    @classmethod
    def of(cls, receipt: Receipt) -> "VoteRetractedMessage":
        return cls(receipt.id, receipt.poll_id, receipt.seq, receipt.repeated)


class Pong(Camel, tag_field="type", tag="PONG"):
    """The answer to `PING`."""

    server_time: str


class ErrorMessage(Camel, tag_field="type", tag="ERROR"):
    """A refusal, with the `id` and `pollId` of what was refused where they apply."""

    code: str
    message: str
    id: str | UnsetType = UNSET
    poll_id: str | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET
    fields: dict[str, str] | UnsetType = UNSET

    @classmethod
    def of(
        cls, error: PollroomError, id: str | UnsetType = UNSET, poll_id: str | UnsetType = UNSET
    ) -> "ErrorMessage":
        return cls(
            error.code,
            error.message,
            id,
            poll_id,
            UNSET if error.retry_after is None else error.retry_after,
            UNSET if error.fields is None else dict(error.fields),
        )


UNSOLICITED: Final = (
    Welcome,
    PollUpdate,
    PollChanged,
    PollDeleted,
    DeckChanged,
    DeckUpdate,
    DeckDeleted,
)
"""What the server sends without being asked, besides ``ERROR``."""


class BaseMessage(Camel, tag_field="type", kw_only=True):
    """``answers``: what a client message is answered with, besides ``ERROR``."""

    answers: ClassVar[tuple[type[Struct], ...]] = ()

    id: BallotId | UnsetType = UNSET


class Auth(BaseMessage, tag="AUTH"):
    """Authenticate, or renew the access token on a live socket."""

    answers = (Authenticated, DeckStateMessage, PollStateMessage)

    token: str


class JoinPoll(BaseMessage, tag="JOIN_POLL"):
    """Join a poll's room by `pollId` or `code`, exactly one of them. Joining again answers again."""

    answers = (PollStateMessage,)

    poll_id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class LeavePoll(BaseMessage, tag="LEAVE_POLL"):
    """Leave a poll's room, whether joined or not."""

    answers = (LeftPoll,)

    poll_id: str


class JoinDeck(BaseMessage, tag="JOIN_DECK"):
    """Join a deck's room by `deckId` or `code`, exactly one of them, and follow it from poll to poll."""

    answers = (DeckStateMessage, PollStateMessage)

    deck_id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class LeaveDeck(BaseMessage, tag="LEAVE_DECK"):
    """Leave a deck's room, whether joined or not."""

    answers = (LeftDeck,)

    deck_id: str


class Vote(BaseMessage, tag="VOTE"):
    """Cast a ballot with `optionIds` or `optionId`, exactly one of them. The same `id` again is the same ballot."""

    answers = (VoteAcceptedMessage,)

    poll_id: str
    option_ids: list[str] | UnsetType = UNSET
    option_id: str | UnsetType = UNSET


class RetractVote(BaseMessage, tag="RETRACT_VOTE"):
    """Withdraw the current ballot."""

    answers = (VoteRetractedMessage,)

    poll_id: str


class Ping(BaseMessage, tag="PING"):
    """Ask for a sign of life."""

    answers = (Pong,)


ClientMessage = Auth | JoinPoll | LeavePoll | JoinDeck | LeaveDeck | Vote | RetractVote | Ping
CLIENT_MESSAGES: Final[tuple[type[BaseMessage], ...]] = get_args(ClientMessage)


def type_of(message: type) -> str:
    """The ``type`` that a message has on the wire."""
    assert issubclass(message, Struct)
    return str(message.__struct_config__.tag)
