"""JSON from clients -> typed values, alike for every transport.

Not JSON, or not an object: ``BAD_MESSAGE``. An object with missing, unknown or wrong fields: ``VALIDATION_FAILED``,
the top-level field named as the client wrote it.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from .errors import PollroomError, invalid

T = TypeVar("T")

_NAMED: Final = re.compile(r"^Object (missing required|contains unknown) field `(.*)`$", re.DOTALL)
_PATH: Final = re.compile(r" - at `(?:key in )?(\$.*)`$", re.DOTALL)
_TOP: Final = re.compile(r"^\$\.([A-Za-z]+)")
_NAME_LENGTH: Final = 64
_MESSAGE_LENGTH: Final = 200


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """``data`` as the decoder's type. Callers bound its length: the time taken grows with it."""
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(data, error)
    if b"\\u0000" in data:
        _refuse_bad_text(_tree(data))
    return value


def _refuse(data: bytes, error: Exception) -> NoReturn:
    # The fast decoder stops at the first thing it dislikes and calls a lone surrogate malformed JSON: only a whole
    # second parse tells bad JSON from bad fields.
    tree = _tree(data)
    if isinstance(error, msgspec.ValidationError):
        raise _validation(str(error)) from None
    _refuse_bad_text(tree)
    raise invalid("body", "holds a value out of range") from None


def _tree(data: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(data.decode(), parse_constant=_no_constant, parse_int=_bounded_int)
    except (ValueError, RecursionError):
        raise PollroomError("BAD_MESSAGE") from None
    if not isinstance(tree, dict):
        raise PollroomError("BAD_MESSAGE")
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> float:
    # int() refuses more than 4,300 digits with a ValueError, though they are JSON.
    return int(digits) if len(digits) < 64 else math.inf


def _validation(message: str) -> PollroomError:
    path = _PATH.search(message)
    what = message[: path.start()] if path else message
    top = _TOP.match(path[1]) if path else None
    named = _NAMED.match(what)
    if top:
        return invalid(top[1], _printable(what, _MESSAGE_LENGTH))
    if named:
        message = "is required" if named[1] == "missing required" else "is not a known field"
        return invalid(_printable(named[2], _NAME_LENGTH), message)
    return invalid("body", _printable(what, _MESSAGE_LENGTH))


def _refuse_bad_text(tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        for leaf in _leaves(name, value):
            if isinstance(leaf, float) and math.isinf(leaf):
                raise invalid(_printable(name, _NAME_LENGTH), "is out of range")
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
