"""Decodes JSON from clients into typed values, for every transport.

Raises ``BAD_MESSAGE`` for what is not a JSON object, and ``VALIDATION_FAILED`` for an object with missing, unknown or wrong
fields, or with values nested too deep. It names every wrong top-level field as the client wrote it.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec

from .errors import PollroomError, invalid

T = TypeVar("T")

# Strings are skipped as a whole. Closing quotes are optional, so that no input is read more than once.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_OPENING: Final = frozenset(b"[{")
_CLOSING: Final = frozenset(b"]}")
MAX_DEPTH: Final = 64
"""Levels of nesting. Python's own limit differs between interpreters."""
_TOO_DEEP: Final = b"1e999"
_NAME_LENGTH: Final = 64
_MESSAGE_LENGTH: Final = 200
_MAX_UNKNOWN: Final = 20
"""Unknown fields that one answer names."""


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """``data`` as the decoder's type, which must not accept values nested deeper than ``MAX_DEPTH``.

    Callers limit the length of ``data``: the time taken grows with it.
    """
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(data, decoder.type, error)
    if b"\\u0000" in data:
        _refuse_bad_text(read_object(data))
    return value


def _refuse(data: bytes, form: Any, error: Exception) -> NoReturn:
    # The fast decoder stops at the first thing it dislikes and calls a lone surrogate malformed JSON: only a whole
    # second parse tells bad JSON from bad fields.
    tree = read_object(data)
    if shallow(data) is not data:
        _refuse_bad_text(tree)
    if isinstance(error, msgspec.ValidationError):
        raise _validation(tree, form, str(error)) from None
    _refuse_bad_text(tree)
    raise invalid("body", "holds a value out of range") from None


def read_object(data: bytes) -> dict[str, Any]:
    """The fields of an object that need not be valid otherwise. ``BAD_MESSAGE`` for anything else."""
    try:
        tree = json.loads(shallow(data).decode(), parse_constant=_no_constant, parse_int=_bounded_int)
    except (ValueError, RecursionError):
        raise PollroomError("BAD_MESSAGE") from None
    if not isinstance(tree, dict):
        raise PollroomError("BAD_MESSAGE")
    return tree


def shallow(data: bytes, levels: int = 1) -> bytes:
    """``data``, with a number out of range for each value inside the outermost ``levels`` that is nested too deep."""
    limit = MAX_DEPTH + levels - 1
    if data.count(b"[") + data.count(b"{") <= limit or not _deeper(data, limit):
        return data
    return _without_deep(data, levels, limit)


def _deeper(data: bytes, limit: int) -> bool:
    depth = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in _OPENING:
            depth += 1
            if depth > limit:
                return True
        elif first in _CLOSING:
            depth -= 1
    return False


def _without_deep(data: bytes, levels: int, limit: int) -> bytes:
    depth = deepest = value = start = 0
    kept = []
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in _OPENING:
            depth += 1
            if depth == levels + 1:
                value, deepest = token.start(), depth
            deepest = max(deepest, depth)
        elif first in _CLOSING:
            if depth == levels + 1 and deepest > limit:
                kept += [data[start:value], _TOO_DEEP]
                start = token.end()
            depth -= 1
    return b"".join([*kept, data[start:]])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> float:
    # int() refuses more than 4,300 digits with a ValueError, though they are JSON.
    return int(digits) if len(digits) < 64 else math.inf


def _validation(tree: dict[str, Any], form: Any, message: str) -> PollroomError:
    """Names every wrong field, in words of JSON."""
    if not (isinstance(form, type) and issubclass(form, msgspec.Struct)):
        return invalid("body", _printable(message, _MESSAGE_LENGTH))
    known = {field.encode_name: field for field in msgspec.structs.fields(form)}
    tag = form.__struct_config__.tag_field
    wrong = {}
    if form.__struct_config__.forbid_unknown_fields:
        unknown = [name for name in tree if name not in known and name != tag]
        wrong = {_printable(name, _NAME_LENGTH): "is not a known field" for name in unknown[:_MAX_UNKNOWN]}
    for name, field in known.items():
        if name not in tree:
            if field.required:
                wrong[name] = "is required"
        elif problem := _problem(tree[name], field.type):
            wrong[name] = problem
    if not wrong:
        _refuse_bad_text(tree)
    return PollroomError("VALIDATION_FAILED", fields=wrong or {"body": _printable(message, _MESSAGE_LENGTH)})


def _problem(value: Any, kind: Any) -> str | None:
    try:
        msgspec.convert(value, kind)
    except UnicodeEncodeError:
        return "must not contain NUL or lone surrogates"
    except (msgspec.ValidationError, RecursionError):
        return f"must be {_wanted(kind)}"
    return None


def _wanted(kind: Any) -> str:
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Literal and len(get_args(part)) > 1:
            return f"one of: {', '.join(get_args(part))}"
    return _described(msgspec.inspect.type_info(kind))


def _described(kind: msgspec.inspect.Type) -> str:
    """A type as a client knows it."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            names = [_described(each) for each in types]
            return " or ".join(sorted(names, key="null".__eq__))
        case msgspec.inspect.NoneType():
            return "null"
        case msgspec.inspect.LiteralType(values=(only,)):
            return f'"{only}"'
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high) if low is not None and high is not None:
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.IntType():
            return "a whole number"
        case msgspec.inspect.DateTimeType():
            return "a time in RFC 3339 with a time zone"
        case msgspec.inspect.StrType(max_length=int(most)):
            return f"a string of 1 to {most} characters of A-Z a-z 0-9 _ -"
        case msgspec.inspect.StrType():
            return "a string"
        case msgspec.inspect.ListType(item_type=item):
            return f"an array, each item {_described(item)}"
        case msgspec.inspect.StructType(fields=fields):
            return f"an object with {', '.join(field.encode_name for field in fields)}"
    return "of another type"


def _refuse_bad_text(tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        for leaf in _leaves(name, value):
            if isinstance(leaf, float) and math.isinf(leaf):
                raise invalid(_printable(name, _NAME_LENGTH), "is out of range or nested too deep")
            if isinstance(leaf, str) and ("\0" in leaf or any("\ud800" <= c <= "\udfff" for c in leaf)):
                raise invalid(_printable(name, _NAME_LENGTH), "must not contain NUL or lone surrogates")


def _leaves(*roots: Any) -> Iterator[Any]:
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        else:
            yield value


def _printable(text: str, length: int) -> str:
    """``text`` cut, and such that it can be encoded again."""
    return text[:length].encode("utf-8", "backslashreplace").decode()
