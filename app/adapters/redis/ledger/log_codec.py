"""Decodes entries of the vote log, which scripts pack (``scripts/README.md``)."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ....domain.ballots import BallotRow, LogContent, PollChange, Undecodable
from ....domain.polls import MAX_OPTIONS

# Limits of the columns. MariaDB silently strips trailing spaces, and JSON_TABLE silently truncates.
_Id = Annotated[str, Meta(max_length=64)]
_Ids = Annotated[list[_Id], Meta(max_length=MAX_OPTIONS)]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Earlier(Struct, array_like=True, frozen=True):
    id: _Id
    retract: bool
    choices: _Ids
    seq: _Number
    cast_at: _Number


class _Ballot(Struct, array_like=True, frozen=True, tag="b"):
    poll_id: _Id
    voter_id: _Id
    n: _Number
    id: _Id
    retract: bool
    choices: _Ids
    seq: _Number
    cast_at: _Number
    accepted: bool
    earlier: list[_Earlier]


class _Change(Struct, array_like=True, frozen=True, tag="p"):
    kind: Literal["edit", "open", "close", "delete"]
    poll_id: _Id
    seq: _Number
    at: _Number


# Not strict: scripts encode integers as floats and booleans as 0 and 1.
_decoder: Final[msgspec.msgpack.Decoder[_Ballot | _Change]] = msgspec.msgpack.Decoder(
    _Ballot | _Change, strict=False
)
_json: Final = msgspec.json.Encoder()


def decode(payload: bytes, generation: int) -> LogContent:
    try:
        item = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Undecodable(_poll_id(payload), f"cannot decode: {error}")
    if isinstance(item, _Change):
        return PollChange(item.kind, item.poll_id, item.seq, item.at)
    return BallotRow(
        poll_id=item.poll_id,
        voter_id=item.voter_id,
        n=item.n,
        ballot_id=item.id,
        choices="" if item.retract else ",".join(item.choices),
        seq=item.seq,
        epoch=generation,
        cast_at=item.cast_at,
        accepted=item.accepted,
        earlier=_json.encode(item.earlier).decode(),
    )


def _poll_id(payload: bytes) -> str:
    try:
        match msgspec.msgpack.decode(payload):
            case ["b", str(poll_id), *_] | ["p", _, str(poll_id), *_]:
                return poll_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return ""
