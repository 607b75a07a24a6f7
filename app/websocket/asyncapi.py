"""The AsyncAPI document of ``/ws``, made from the message structs."""

from typing import Any, Final, get_args

import msgspec

from ..domain.errors import MESSAGES
from ..services.rooms.connections import (
    BAD_TEXT,
    BAD_TOKEN,
    NOT_TEXT,
    OVERLOADED,
    RESTART,
    TOO_BIG,
    TOO_MANY,
    TOO_SLOW,
)
from ..services.rooms.feed import PollChanged, PollDeleted, PollUpdate
from ..services.rooms.messages import (
    Accepted,
    Auth,
    Authenticated,
    ErrorMessage,
    JoinPoll,
    LeavePoll,
    LeftPoll,
    PollStateMessage,
    Retracted,
    RetractVote,
    Vote,
)
from ..utils.json_schemas import components, ref
from .codec import AnyMessage, Ping, Pong, Welcome
from .socket import LARGEST_MESSAGE

CHANNEL: Final = "#/channels/ws"

ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    Auth: (Authenticated, PollStateMessage),
    JoinPoll: (PollStateMessage,),
    LeavePoll: (LeftPoll,),
    Vote: (Accepted,),
    RetractVote: (Retracted,),
    Ping: (Pong,),
}
"""Beside ``ERROR``, which any message may be answered with."""

UNASKED: Final = (Welcome, PollUpdate, PollChanged, PollDeleted)

SUMMARIES: Final[dict[type, str]] = {
    Auth: "Prove who it is, or renew an access token on a live socket.",
    JoinPoll: "Come into a poll's room, by `pollId` or `code`, exactly one; joining again answers again.",
    LeavePoll: "Leave the room, joined or not.",
    Vote: "Cast a ballot, with `optionIds` or `optionId`, exactly one. The same `id` again is the same ballot.",
    RetractVote: "Take the standing ballot back.",
    Ping: "Ask for a sign of life.",
    Welcome: "Always first. Sizes in bytes, intervals and delays in seconds.",
    Authenticated: "The token holds; `POLL_STATE` follows anew for each joined poll.",
    PollStateMessage: "A poll as this socket may see it now.",
    PollUpdate: "The newest tally, at most one a tick and room; also when only `viewers` moved.",
    PollChanged: "After every edit, opening and closing.",
    PollDeleted: "The poll is gone, and the socket has left its room.",
    LeftPoll: "The socket has left the room.",
    Accepted: "The ballot counts, and is kept.",
    Retracted: "The ballot is taken back, and that is kept.",
    Pong: "A sign of life.",
    ErrorMessage: "A refusal; `id` and `pollId` of what was refused, where they apply.",
}

CLOSE_CODES: Final = {
    RESTART: "the server restarts: come back after a random delay from 0 to `minDelay`·2ⁿ, at most `maxDelay`",
    TOO_SLOW: "too slow or silent: the same",
    OVERLOADED: "overloaded: the same",
    TOO_MANY: "too many messages: the same, beginning at `maxDelay`",
    NOT_TEXT: "a binary frame: not again unchanged",
    BAD_TEXT: "bad UTF-8: not again unchanged",
    TOO_BIG: f"a message of more than {LARGEST_MESSAGE} bytes: not again unchanged",
    BAD_TOKEN: "the token does not hold (any more): not again unchanged",
}


def asyncapi(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0; the operations are the server's: it receives what clients send."""
    requests = get_args(AnyMessage)
    answers = (*UNASKED, *dict.fromkeys(kind for kinds in ANSWERS.values() for kind in kinds), ErrorMessage)
    schemas = components(requests, answers)
    schemas["ErrorMessage"]["properties"]["code"] = {"enum": list(MESSAGES)}
    operations: dict[str, Any] = {
        _tag(kind): {
            "action": "receive",
            "channel": {"$ref": CHANNEL},
            "summary": SUMMARIES[kind],
            "messages": [_message(kind)],
            "reply": {
                "channel": {"$ref": CHANNEL},
                "messages": [_message(answer) for answer in (*ANSWERS[kind], ErrorMessage)],
            },
        }
        for kind in requests
    }
    operations["unasked"] = {
        "action": "send",
        "channel": {"$ref": CHANNEL},
        "summary": "What the server sends by itself.",
        "messages": [_message(kind) for kind in (*UNASKED, ErrorMessage)],
    }
    codes = "\n".join(f"- {code}: {text}" for code, text in CLOSE_CODES.items())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pollroom over WebSocket",
            "version": version,
            "description": "Text frames with one JSON object each. Rules that span fields are in docs/protocol.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "description": (
                    "Subprotocol `pollroom.v1` (optional); the access token in `Authorization: Bearer` or in `AUTH`. "
                    f"At most {LARGEST_MESSAGE} bytes a message from the client.\n\nClose codes:\n\n{codes}"
                ),
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "messages": {
                    _tag(kind): {"$ref": f"#/components/messages/{_tag(kind)}"}
                    for kind in (*requests, *answers)
                },
            }
        },
        "operations": operations,
        "components": {
            "messages": {
                _tag(kind): {"name": _tag(kind), "summary": SUMMARIES[kind], "payload": ref(kind)}
                for kind in (*requests, *answers)
            },
            "schemas": schemas,
        },
    }


def _tag(kind: type) -> str:
    assert issubclass(kind, msgspec.Struct)
    return str(kind.__struct_config__.tag)


def _message(kind: type) -> dict[str, str]:
    return {"$ref": f"{CHANNEL}/messages/{_tag(kind)}"}
