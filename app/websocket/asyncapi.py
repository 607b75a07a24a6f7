"""The AsyncAPI document of ``/ws``, generated from the message structs."""

from typing import Any, Final

from ..domain.close_codes import CloseCode
from ..domain.errors import MESSAGES
from ..services.rooms.messages import CLIENT_MESSAGES, UNSOLICITED, ErrorMessage, type_of
from ..utils.json_schemas import components, ref
from .socket import MAX_MESSAGE_BYTES

CHANNEL: Final = "#/channels/ws"


def asyncapi(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0; the operations are the server's: it receives what clients send."""
    requests = CLIENT_MESSAGES
    answers: tuple[type, ...] = (
        *UNSOLICITED,
        *dict.fromkeys(answer for kind in requests for answer in kind.answers),
        ErrorMessage,
    )
    schemas = components(requests, answers)
    schemas["ErrorMessage"]["properties"]["code"] = {"enum": list(MESSAGES)}
    operations: dict[str, Any] = {
        type_of(kind): {
            "action": "receive",
            "channel": {"$ref": CHANNEL},
            "summary": _summary(kind),
            "messages": [_message(kind)],
            "reply": {
                "channel": {"$ref": CHANNEL},
                "messages": [_message(answer) for answer in (*kind.answers, ErrorMessage)],
            },
        }
        for kind in requests
    }
    operations["unasked"] = {
        "action": "send",
        "channel": {"$ref": CHANNEL},
        "summary": "What the server sends without being asked.",
        "messages": [_message(kind) for kind in (*UNSOLICITED, ErrorMessage)],
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
                    f"At most {MAX_MESSAGE_BYTES} bytes per message from the client.\n\nClose codes:\n\n{codes}"
                ),
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "messages": {
                    type_of(kind): {"$ref": f"#/components/messages/{type_of(kind)}"}
                    for kind in (*requests, *answers)
                },
            }
        },
        "operations": operations,
        "components": {
            "messages": {
                type_of(kind): {"name": type_of(kind), "summary": _summary(kind), "payload": ref(kind)}
                for kind in (*requests, *answers)
            },
            "schemas": schemas,
        },
    }


def _summary(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _message(kind: Any) -> dict[str, str]:
    return {"$ref": f"{CHANNEL}/messages/{type_of(kind)}"}
