"""The AsyncAPI document of ``/ws``, made from the message structs."""

from typing import Any, Final, get_args

import msgspec

from ..domain.close_codes import CloseCode
from ..domain.errors import MESSAGES
from ..services.rooms.feed import PollChanged, PollDeleted, PollUpdate
from ..services.rooms.messages import (
    Auth,
    Authenticated,
    ErrorMessage,
    JoinPoll,
    LeavePoll,
    LeftPoll,
    PollStateMessage,
    RetractVote,
    Vote,
    VoteAcceptedMessage,
    VoteRetractedMessage,
)
from ..utils.json_schemas import components, ref
from .codec import AnyMessage, Ping, Pong, Welcome
from .socket import MAX_MESSAGE_BYTES

CHANNEL: Final = "#/channels/ws"

ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    Auth: (Authenticated, PollStateMessage),
    JoinPoll: (PollStateMessage,),
    LeavePoll: (LeftPoll,),
    Vote: (VoteAcceptedMessage,),
    RetractVote: (VoteRetractedMessage,),
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
    VoteAcceptedMessage: "The ballot counts, and is kept.",
    VoteRetractedMessage: "The ballot is taken back, and that is kept.",
    Pong: "A sign of life.",
    ErrorMessage: "A refusal; `id` and `pollId` of what was refused, where they apply.",
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
    codes = "\n".join(f"- {code}: {code.meaning}" for code in CloseCode)
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
                    f"At most {MAX_MESSAGE_BYTES} bytes a message from the client.\n\nClose codes:\n\n{codes}"
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
