"""Frames as structs: telling what clients send apart, and what only this transport says."""

from typing import Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from ..domain.decoding import decode
from ..domain.errors import PollroomError
from ..domain.values import Camel
from ..services.rooms.messages import Auth, JoinPoll, LeavePoll, Message, Refused, RetractVote, Vote, head


class Ping(Message, tag="PING"):
    pass


AnyMessage = Auth | JoinPoll | LeavePoll | Vote | RetractVote | Ping
_TYPES: Final = {
    kind.__struct_config__.tag: msgspec.json.Decoder(kind)
    for kind in (Auth, JoinPoll, LeavePoll, Vote, RetractVote, Ping)
}
_fast: Final = msgspec.json.Decoder(AnyMessage)


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
        kind, id = head(data)
        if not isinstance(kind, str):
            raise PollroomError("BAD_MESSAGE")
        if kind not in _TYPES:
            raise PollroomError("UNKNOWN_TYPE")
        return cast(AnyMessage, decode(data, _TYPES[kind]))
    except PollroomError as error:
        raise Refused(error, id) from None


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


class Pong(Camel, tag_field="type", tag="PONG"):
    server_time: str


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
