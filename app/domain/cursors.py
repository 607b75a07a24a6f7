"""Cursors of lists, signed so that they serve only whom they were given to, and only for their list."""

import hashlib
import hmac
from typing import Final

from .errors import invalid
from .values import is_id

_DIGITS: Final = 16


class Cursors:
    """``keys``: the first signs, all are accepted. ``secrets``: what signed cursors of polls before keys were derived."""

    def __init__(self, keys: tuple[bytes, ...], secrets: tuple[bytes, ...] = ()) -> None:
        self._keys = keys
        self._secrets = secrets

    def sign(self, name: str, owner_id: str, last_id: str) -> str:
        return f"{last_id}.{_digest(self._keys[0], name, owner_id, last_id)}"

    def unsign(self, name: str, owner_id: str, cursor: str | None) -> str | None:
        """The last id of the page before. ``VALIDATION_FAILED`` for a cursor of another list or user."""
        if cursor is None:
            return None
        last_id, _, digest = cursor.rpartition(".")
        if is_id(last_id):
            known = [_digest(key, name, owner_id, last_id) for key in self._keys]
            if name == "polls":
                known += [_digest(secret, owner_id, last_id) for secret in self._secrets]
            if any(hmac.compare_digest(digest.encode(), one.encode()) for one in known):
                return last_id
        raise invalid("cursor", "is none of yours")


def _digest(key: bytes, *parts: str) -> str:
    return hmac.new(key, "|".join(parts).encode(), hashlib.sha256).hexdigest()[:_DIGITS]
