"""From the bytes that a client sent to a message, alike for every transport."""

from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from ...domain.decoding import decode, read_object
from ...domain.errors import PollroomError
from ...domain.values import BallotId
from .messages import CLIENT_MESSAGES, ClientMessage, type_of


class Refused(Exception):
    """What is not a valid message. ``id``: as the client sent it, if it is readable and valid."""

    def __init__(self, error: PollroomError, id: str | UnsetType = UNSET) -> None:
        super().__init__(error.code)
        self.error = error
        self.id = id


_DECODERS: Final = {type_of(kind): msgspec.json.Decoder(kind) for kind in CLIENT_MESSAGES}
_any_message: Final = msgspec.json.Decoder(ClientMessage)


def parse(data: bytes) -> ClientMessage:
    """A message whose ``type`` is one of its fields. Raises ``Refused``."""
    if b"\\u0000" not in data:
        try:
            message: ClientMessage = _any_message.decode(data)
            return message
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    kind, id = _read_head(data)
    if not isinstance(kind, str):
        raise Refused(PollroomError("BAD_MESSAGE"), id)
    return _decode(kind, data, id)


def parse_as(kind: str, data: bytes, error: PollroomError | None = None) -> ClientMessage:
    """A message whose ``type`` is known. Raises ``Refused``, with ``error`` if there is one already."""
    _, id = _read_head(data)
    if error is not None:
        raise Refused(error, id)
    return _decode(kind, data, id)


def _decode(kind: str, data: bytes, id: str | UnsetType) -> ClientMessage:
    try:
        if kind not in _DECODERS:
            raise PollroomError("UNKNOWN_TYPE")
        return cast(ClientMessage, decode(data, _DECODERS[kind]))
    except PollroomError as error:
        raise Refused(error, id) from None


def _read_head(data: bytes) -> tuple[Any, str | UnsetType]:
    """``type``, and ``id`` if it is valid, of an object whose other fields may be wrong. Raises ``Refused``."""
    try:
        fields = read_object(data)
    except PollroomError as error:
        raise Refused(error) from None
    try:
        return fields.get("type"), msgspec.convert(fields.get("id"), BallotId)
    except msgspec.ValidationError:
        return fields.get("type"), UNSET
