"""Frames as structs: what clients send, what the server answers, and telling bad ones apart."""

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.modules.decode import decode
from app.modules.poll.types import PollView
from app.modules.types import BallotId, Camel
from app.modules.user.types import UserView
from app.modules.vote.types import Tally, VoteAccepted, VoteRetracted, YourVote
from app.utils.errors import PollroomError


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


class Ping(Message, tag="PING"):
    pass


AnyMessage = Auth | JoinPoll | LeavePoll | Vote | RetractVote | Ping
_TYPES: Final = {
    kind.__struct_config__.tag: msgspec.json.Decoder(kind)
    for kind in (Auth, JoinPoll, LeavePoll, Vote, RetractVote, Ping)
}
_fast: Final = msgspec.json.Decoder(AnyMessage)


class _Head(msgspec.Struct):
    type: Any = None
    id: Any = None


_head: Final = msgspec.json.Decoder(_Head)
_ballot_id: Final = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]


class Refused(Exception):
    """A frame that is no message; ``id`` as the client sent it, where it is a valid one."""

    def __init__(self, error: PollroomError, id: str | UnsetType) -> None:
        super().__init__(error.code)
        self.error = error
        self.id = id


def parse(data: bytes) -> AnyMessage:
    """A client's frame as its struct; raises ``Refused``."""
    if b"\\u0000" not in data:
        try:
            fast: AnyMessage = _fast.decode(data)
            return fast
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    id: str | UnsetType = UNSET
    try:
        try:
            head = _head.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            head = decode(data, _head)
        id = _valid_id(head.id)
        if not isinstance(head.type, str):
            raise PollroomError("BAD_MESSAGE")
        if head.type not in _TYPES:
            raise PollroomError("UNKNOWN_TYPE")
        return cast(AnyMessage, decode(data, _TYPES[head.type]))
    except PollroomError as error:
        raise Refused(error, id) from None


def _valid_id(value: Any) -> str | UnsetType:
    try:
        return cast(str, msgspec.convert(value, _ballot_id))
    except msgspec.ValidationError:
        return UNSET


class Reconnect(Camel):
    """Seconds; see the close codes of the contract."""

    min_delay: float
    max_delay: float


class Welcome(Camel, tag_field="type", tag="WELCOME"):
    server_time: str
    connection_id: str
    max_message_bytes: int
    ping_interval: float
    reconnect: Reconnect


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


class Accepted(VoteAccepted, tag_field="type", tag="VOTE_ACCEPTED"):
    pass


class Retracted(VoteRetracted, tag_field="type", tag="VOTE_RETRACTED"):
    pass


class Pong(Camel, tag_field="type", tag="PONG"):
    server_time: str


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


encode: Final = msgspec.json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """A whole WebSocket text frame as a server sends it (RFC 6455, 5.2): the same for every socket."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def payload_of(frame: bytes) -> bytes:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]
