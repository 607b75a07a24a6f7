"""Text that clients send: how it is normalized, and what is refused. Section "Text" of ``docs/protocol.md``."""

import re
import unicodedata
from typing import Final

from .errors import invalid

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties: characters that show nothing of themselves.
_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE: Final = re.compile(f"[{_IGNORABLE}]")
# Zero width joiner and tags make emoji and flags what they are.
_NOT_SEEN: Final = re.compile(f"(?![\u200d\U000e0020-\U000e007f])[{_IGNORABLE}]")
_LINE_ENDS: Final = re.compile("\r\n|[\u2028\u2029]")

_OPENS: Final = {
    **dict.fromkeys("\u202a\u202b\u202d\u202e", "\u202c"),
    **dict.fromkeys("\u2066\u2067\u2068", "\u2069"),
}
_POP_EMBEDDING: Final = "\u202c"
_POP_ISOLATE: Final = "\u2069"


def clean_text(field: str, value: str, low: int, high: int, *, lines: bool = False) -> str:
    """``value`` in NFC without outer white space. ``VALIDATION_FAILED`` unless it then has ``low`` to ``high`` code points.

    A tab becomes a space. CRLF, U+2028 and U+2029 become a line feed, which is taken only with ``lines``.
    """
    refuse_unstorable(field, value)
    value = _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", value).replace("\t", " ")).strip()
    if not low <= len(value) <= high:
        raise invalid(field, f"must have {low} to {high} characters")
    if low and not has_visible(value):
        raise invalid(field, "must not be blank")
    if any(unicodedata.category(c) == "Cc" and not (lines and c == "\n") for c in value):
        raise invalid(field, "must not contain control characters")
    if not _closes_direction(value):
        raise invalid(field, "must end each bidirectional override, embedding and isolate")
    return value


def refuse_unstorable(field: str, value: str) -> None:
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise invalid(field, "must not contain NUL or lone surrogates")


def has_visible(value: str) -> bool:
    return bool(_INVISIBLE.sub("", value).strip())


def has_invisible(value: str) -> bool:
    return _INVISIBLE.search(value) is not None


def as_seen(value: str) -> str:
    """Two texts that look alike by the contract's rule have the same one."""
    return _NOT_SEEN.sub("", unicodedata.normalize("NFC", value))


def _closes_direction(value: str) -> bool:
    """Whether what changes the direction of writing ends within the text (Unicode's bidirectional algorithm, X5 to X7)."""
    open_: list[str] = []
    for c in value:
        if c in _OPENS:
            open_.append(_OPENS[c])
        elif c == _POP_EMBEDDING and open_ and open_[-1] == c:
            open_.pop()
        elif c == _POP_ISOLATE and c in open_:
            while open_.pop() != c:
                pass
    return not open_
