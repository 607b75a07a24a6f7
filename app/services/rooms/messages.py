"""What clients of a socket send, and what they are answered, whichever transport carries it."""

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...domain.ballots import Receipt, Tally, VoteAccepted, VoteRetracted, YourVote
from ...domain.decoding import decode
from ...domain.errors import PollroomError
from ...domain.polls import PollView
from ...domain.users import UserView
from ...domain.values import BallotId, Camel, rfc3339


class Message(Camel, tag_field="type", kw_only=True):
    id: BallotId | UnsetType = UNSET


class Auth(Message, tag="AUTH"):
    token: str


class JoinPoll(Message, tag="JOIN_POLL"):
    poll_id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class LeavePoll(Message, tag="LEAVE_POLL"):
    poll_id: str


class Vote(Message, tag="VOTE"):
    poll_id: str
    option_ids: list[str] | UnsetType = UNSET
    option_id: str | UnsetType = UNSET


class RetractVote(Message, tag="RETRACT_VOTE"):
    poll_id: str


class _Head(msgspec.Struct):
    type: Any = None
    id: Any = None


_head: Final = msgspec.json.Decoder(_Head)
_ballot_id: Final = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]


class Refused(Exception):
    """What is no message; ``id`` as the client sent it, where it is a valid one."""

    def __init__(self, error: PollroomError, id: str | UnsetType = UNSET) -> None:
        super().__init__(error.code)
        self.error = error
        self.id = id


def head(data: bytes) -> tuple[Any, str | UnsetType]:
    """``type`` and ``id`` of an object that may be wrong otherwise. ``BAD_MESSAGE`` where it is none."""
    try:
        found = _head.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = decode(data, _head)
    try:
        return found.type, cast(str, msgspec.convert(found.id, _ballot_id))
    except msgspec.ValidationError:
        return found.type, UNSET


class Authenticated(Camel, tag_field="type", tag="AUTHENTICATED"):
    user: UserView
    expires_at: str


class PollStateMessage(Camel, tag_field="type", tag="POLL_STATE"):
    poll: PollView
    tally: Tally
    viewers: int
    your_vote: YourVote | None
    server_time: str


class LeftPoll(Camel, tag_field="type", tag="LEFT_POLL"):
    poll_id: str


class VoteAcceptedMessage(VoteAccepted, tag_field="type", tag="VOTE_ACCEPTED"):
    @classmethod
    def of(cls, receipt: Receipt) -> "VoteAcceptedMessage":
        cast_at = rfc3339(receipt.cast_at)
        return cls(receipt.id, receipt.poll_id, receipt.choices, receipt.seq, cast_at, receipt.repeated)


class VoteRetractedMessage(VoteRetracted, tag_field="type", tag="VOTE_RETRACTED"):
    @classmethod
    def of(cls, receipt: Receipt) -> "VoteRetractedMessage":
        return cls(receipt.id, receipt.poll_id, receipt.seq, receipt.repeated)


class ErrorMessage(Camel, tag_field="type", tag="ERROR"):
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
