"""The OpenAPI and AsyncAPI documents as one page that loads nothing and runs nothing."""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape
from typing import Any, Final

STYLE: Final = """
:root{color-scheme:light dark;--soft:light-dark(#f2f4f7,#22262d);--line:light-dark(#d5dae1,#3a404a);
--faint:light-dark(#5b6470,#9aa4b2);--link:light-dark(#0b5cad,#7db7f5);--bad:light-dark(#a3261b,#f0938a)}
body{max-width:60rem;margin:auto;padding:1.5rem 1rem 4rem;font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1,h2{line-height:1.2}h2{margin-top:2.5rem}nav a{margin-right:1rem}a{color:var(--link)}
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0}
summary{padding:.4rem .8rem;cursor:pointer;background:var(--soft);border-radius:.4rem}
details>:not(summary){margin:.6rem .8rem}summary code{font-weight:600}summary span,.faint{color:var(--faint)}
code{font-family:ui-monospace,monospace;font-size:.92em}table{border-collapse:collapse}
td{padding:.2rem 1rem .2rem 0;vertical-align:top}.bad{color:var(--bad)}
"""

_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_TICKS: Final = re.compile(r"`([^`]+)`")


def page(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> bytes:
    """A whole HTML document, to be served under ``POLICY``."""
    calls = [
        _call(method.upper(), path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    sent: list[str] = []
    got: list[str] = []
    for name, message in asyncapi["components"]["messages"].items():
        operation = asyncapi["operations"].get(name)
        (got if operation is None else sent).append(_message(name, message, operation))
    channel = asyncapi["channels"]["ws"]
    schemas = openapi["components"]["schemas"] | asyncapi["components"]["schemas"]
    parts = [
        f"<h1>{_text(openapi['info']['title'])} {_text(openapi['info']['version'])}</h1>",
        f"<p>{_text(openapi['info']['description'])}</p>",
        '<nav><a href="#http">HTTP</a><a href="#websocket">WebSocket</a><a href="#schemas">Schemas</a>'
        '<a href="openapi.json">openapi.json</a><a href="asyncapi.json">asyncapi.json</a></nav>',
        '<h2 id="http">HTTP</h2>',
        *calls,
        f'<h2 id="websocket">WebSocket <code>{_text(channel["address"])}</code></h2>',
        *_prose(channel["description"]),
        "<h3>Clients send</h3>",
        *sent,
        "<h3>The server sends</h3>",
        *got,
        '<h2 id="schemas">Schemas</h2>',
        *(_schema(name, schema) for name, schema in sorted(schemas.items())),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pollroom: API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
    )
    return (head + "\n".join(parts) + "</body></html>\n").encode()


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = []
    security = operation["security"]
    rows.append(("token", "none" if not security else "optional" if {} in security else "needed"))
    for parameter in operation.get("parameters", ()):
        where = f"{parameter['in']}: {_type(parameter['schema'])} {_text(parameter.get('description', ''))}"
        rows.append((f"<code>{_text(parameter['name'])}</code>", where))
    if "requestBody" in operation:
        rows.append(("body", _body(operation["requestBody"])))
    for status, answer in sorted(operation["responses"].items()):
        refused = "application/problem+json" in answer.get("content", {})
        text = f'<span class="bad">{_text(answer["description"])}</span>' if refused else _body(answer)
        rows.append((status, text or _text(answer["description"])))
    head = f"<code>{method} {_text(path)}</code> <span>{_text(operation['summary'])}</span>"
    return _details(head, rows)


def _message(name: str, message: dict[str, Any], operation: dict[str, Any] | None) -> str:
    rows = [("fields", _type(message["payload"]))]
    if operation is not None:
        names = [answer["$ref"].rpartition("/")[2] for answer in operation["reply"]["messages"]]
        rows.append(("answered with", ", ".join(f"<code>{_text(name)}</code>" for name in names)))
    return _details(f"<code>{_text(name)}</code> <span>{_text(message['summary'])}</span>", rows)


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{_text(field)}</code>"
            + ("" if field in required else ' <span class="faint">optional</span>'),
            f"{_type(of)} {_text(of.get('description', ''))}",
        )
        for field, of in schema.get("properties", {}).items()
    ]
    inside = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
    return _details(f"<code>{_text(name)}</code>", rows, inside, f' id="schema-{_text(name)}" open')


def _details(head: str, rows: Iterable[tuple[str, str]], inside: str = "", attributes: str = "") -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    return f"<details{attributes}><summary>{head}</summary>{inside}<table>{cells}</table></details>"


def _body(holder: dict[str, Any]) -> str:
    return " ".join(
        _type(of["schema"])
        if kind == "application/json" and "$ref" in of["schema"]
        else f"<code>{_text(kind)}</code>"
        for kind, of in holder.get("content", {}).items()
    )


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " · ".join(f"<code>{_text(str(value))}</code>" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(of := schema.get("additionalProperties"), dict):
        return f"object of {_type(of)}"
    names = {"minimum": "≥", "maximum": "≤", "minLength": "length ≥", "maxLength": "length ≤", "format": ""}
    limits = [f"{sign} {schema[name]}".strip() for name, sign in names.items() if name in schema]
    return _text(kind) + (f' <span class="faint">{_text(", ".join(limits))}</span>' if limits else "")


def _prose(text: str) -> Iterable[str]:
    """Paragraphs, and lists of lines that begin with a hyphen."""
    for part in text.split("\n\n"):
        if part.startswith("- "):
            yield "<ul>" + "".join(f"<li>{_text(line[2:])}</li>" for line in part.split("\n")) + "</ul>"
        else:
            yield f"<p>{_text(part)}</p>"


def _text(value: str) -> str:
    return _TICKS.sub(r"<code>\1</code>", escape(value))
