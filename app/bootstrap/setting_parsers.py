"""The form of a setting: how its text is parsed, and what is allowed. Parsers raise ``ValueError``."""

import base64
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm

from ..domain.budgets import parse_rate
from ..services.accounts.access_tokens import ISSUER
from ..services.accounts.own_users import Key, key_of_pem
from ..services.polls.signing import KEY_BYTES

LEVELS: Final = ("debug", "info", "warning", "error")
SECRET_BYTES: Final = 32


@dataclass(frozen=True)
class Setting:
    """``default`` is text as in the environment, empty for none. ``parse`` raises ``ValueError``."""

    default: str
    allowed: str
    parse: Callable[[str], Any]


def whole(default: int, low: int, high: int) -> Setting:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Setting(str(default), f"a whole number from {low} to {high}", parse)


def number(default: int, low: float, high: int) -> Setting:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return Setting(str(default), f"a number from {low:g} to {high} (decimals allowed)", parse)


def rate(default: str) -> Setting:
    allowed = (
        "calls per second (bursts of 5 times as many), or calls/unit[:burst] with the unit s, m or h, "
        "as 100/s:500, or 0 for no limit"
    )
    return Setting(default, allowed, parse_rate)


def partitions(text: str) -> int | None:
    return None if not text else int(whole(16, 1, 1024).parse(text))


def days(text: str) -> float | None:
    return None if not text else float(number(1, 0.00001, 36_500).parse(text))


def folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path


def secret(text: str) -> str | None:
    if text and len(text.encode()) < SECRET_BYTES:
        raise ValueError
    return text or None


def old_secrets(text: str) -> tuple[str, ...]:
    secrets_ = tuple(text.split())
    if any(len(secret.encode()) < SECRET_BYTES for secret in secrets_):
        raise ValueError
    return secrets_


def signing_name(text: str) -> str:
    if not re.fullmatch(r"[!-*,-~]{1,64}", text):
        raise ValueError
    return text


def signing_key(text: str) -> bytes | None:
    if not text:
        return None
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError
    return key


def claim(text: str) -> str | None:
    if len(text) > 255 or not text.isprintable():
        raise ValueError
    return text or None


def issuer(text: str) -> str | None:
    if text == ISSUER:
        raise ValueError
    return claim(text)


def public_key(text: str) -> Key | None:
    if not text:
        return None
    try:
        pem = text if text.startswith("-----BEGIN ") else Path(text).read_text()
        return key_of_pem(pem.replace("\\n", "\n"))
    except (OSError, UnsupportedAlgorithm) as error:
        raise ValueError from error


def bucket(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text) or ".." in text:
        raise ValueError
    return text


def key(text: str) -> str | None:
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError
    return text or None


def topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in (".", ".."):
        raise ValueError
    return text


def socketio(text: str) -> bool:
    if text not in ("on", "off") or (text == "on" and importlib.util.find_spec("socketio") is None):
        raise ValueError
    return text == "on"


def registration(text: str) -> str:
    if text not in ("open", "closed"):
        raise ValueError
    return text


def guest_challenge(text: str) -> bool:
    if text not in ("polls", "always"):
        raise ValueError
    return text == "always"


def level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError
    return text.lower()
