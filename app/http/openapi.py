"""The OpenAPI document, made at the start from the URL table, the structs and the codes."""

import re
from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from starlette.routing import BaseRoute, Route

from ..domain.errors import MESSAGES
from ..utils.json_schemas import PLACE, components, ref
from .calls import CALLS, Body, Call
from .middleware import STATUS
from .resource import Resource

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PROBLEM_REF: Final = {"$ref": PLACE + "Problem"}
_FORMED: Final = ("BAD_MESSAGE", "UNSUPPORTED_MEDIA", "TOO_LARGE", "VALIDATION_FAILED")
_TOKEN: Final = ("UNAUTHENTICATED", "TOKEN_EXPIRED")
_SECURITY: Final[dict[str, list[Any]]] = {
    "needed": [{"bearer": []}],
    "optional": [{}, {"bearer": []}],
    "none": [],
}


class Undescribed(Exception):
    """The URL table and ``CALLS`` differ. ``str()`` names where."""


def openapi(table: Iterable[BaseRoute], version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of every ``Resource`` in the table. ``Undescribed`` where it and ``CALLS`` differ."""
    served = {
        f"{method} {route.path}"
        for route in table
        if isinstance(route, Route) and isinstance(route.endpoint, Resource)
        for method in route.endpoint.methods
    }
    if served != CALLS.keys():
        raise Undescribed(", ".join(sorted(served ^ CALLS.keys())))
    paths: dict[str, dict[str, Any]] = {}
    for name, call in CALLS.items():
        method, path = name.split()
        paths.setdefault(_shown(path), {})[method.lower()] = _operation(method, path, call)
    takes = [call.takes for call in CALLS.values() if isinstance(call.takes, type)]
    gives = [
        one
        for call in CALLS.values()
        for body in call.answers.values()
        for one in (body if isinstance(body, tuple) else (body,))
        if isinstance(one, type)
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pollroom",
            "version": version,
            "description": "Live polls. Lengths, and rules that span fields or calls, are in docs/protocol.md.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {**components(takes, gives), "Problem": _problem()},
        },
    }


def _operation(method: str, path: str, call: Call) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": _camel(name), "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", _shown(path))]),
        "summary": call.does,
        "security": _SECURITY[call.token],
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, **_content(body)}
            for status, body in call.answers.items()
        },
    }
    if parameters or call.parameters:
        operation["parameters"] = [*parameters, *call.parameters]
    if call.takes is not None:
        operation["requestBody"] = {"required": not call.may_be_empty, **_content(call.takes)}
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in _codes(call):
        by_status[STATUS[code]].append(code)
    for status, codes in sorted(by_status.items()):
        schema = {"allOf": [_PROBLEM_REF, {"properties": {"code": {"enum": codes}}}]}
        operation["responses"][str(status)] = {
            "description": ", ".join(codes),
            "content": {"application/problem+json": {"schema": schema}},
        }
    return operation


def _codes(call: Call) -> dict[str, None]:
    """In order, each once."""
    return dict.fromkeys(
        (
            *(_FORMED if isinstance(call.takes, type) else ()),
            *(() if call.token == "none" else _TOKEN),
            *call.codes,
            *(() if call.served_alone else ("INTERNAL", "UNAVAILABLE")),
        )
    )


def _content(body: Body) -> dict[str, Any]:
    if body is None:
        return {}
    if isinstance(body, type):
        return {"content": {"application/json": {"schema": ref(body)}}}
    if isinstance(body, tuple):
        return {"content": {"application/json": {"schema": {"oneOf": [ref(one) for one in body]}}}}
    if body.startswith("text/"):
        return {"content": {body: {"schema": {"type": "string"}}}}
    return {"content": {body: {"schema": {"type": "object"}} if body == "application/json" else {}}}


def _shown(path: str) -> str:
    return _PARAMETER.sub(lambda found: f"{{{_camel(found[1])}}}", path)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _problem() -> dict[str, Any]:
    """RFC 9457, as ``middleware.problem`` writes it."""
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "A refusal (RFC 9457). `UNAVAILABLE` and `INTERNAL`: not known whether it took effect.",
        "type": "object",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": {"enum": list(MESSAGES)},
            "fields": {"type": "object", "additionalProperties": text},
            "retryAfter": {"type": "number", "description": "Seconds."},
        },
        "required": ["type", "title", "status", "detail", "code"],
    }
