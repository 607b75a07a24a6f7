"""JSON schemas of what clients send and get, made from the structs themselves."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

PLACE: Final = "#/components/schemas/"


def ref(kind: type) -> dict[str, str]:
    return {"$ref": PLACE + kind.__name__}


def components(requests: Iterable[type], answers: Iterable[type]) -> dict[str, Any]:
    """Name -> schema of every struct in them. Requests refuse unknown fields; answers may grow."""
    sent = msgspec.json.schema_components(requests, ref_template=PLACE + "{name}")[1]
    got = msgspec.json.schema_components(answers, ref_template=PLACE + "{name}")[1]
    for schema in got.values():
        if schema.get("type") == "object":
            del schema["additionalProperties"]
            required = schema.get("required", [])
            # A default is sent, too; what may be missing has none.
            schema["required"] = [
                name for name, of in schema["properties"].items() if name in required or "default" in of
            ]
    return {name: _plain(schema) for name, schema in sorted((got | sent).items())}


def _plain(schema: Any) -> Any:
    """Patterns as JSON Schema has them (ECMA 262), descriptions without the marks of docstrings."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _plain(value) for name, value in schema.items()}
    if isinstance(pattern := found.get("pattern"), str):
        found["pattern"] = pattern.replace(r"\Z", "$")
    if isinstance(text := found.get("description"), str):
        found["description"] = " ".join(text.replace("``", "`").split())
    return found
