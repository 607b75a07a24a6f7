"""Refresh tokens: random at first; each one's successor is derived from it, so that a lost answer can be repeated."""

import base64
import hashlib
import hmac
import secrets
from typing import Final

from ...domain.errors import PollroomError
from ...ports.database import Queries
from ...repositories import users as model
from ...utils.secret_keys import SecretKeys

MAX_CHAIN: Final = 1000
"""Successors that one call passes: refreshes of one session within the grace."""


class RefreshTokens:
    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys.derived("refresh tokens")

    async def first(self, q: Queries, session_id: str, now: int) -> str:
        token = secrets.token_urlsafe(32)
        await model.insert_refresh(q, digest_of(token), session_id, now)
        return token

    async def succeed(self, q: Queries, token: str, session_id: str, now: int) -> str:
        """The token after ``token``, whose row is locked; where that is spent, too, the newest of the chain."""
        for _ in range(MAX_CHAIN):
            known, spent = await self._find_successor(q, token)
            if known is None:
                known = self._derive(self._keys[0], token)
                await model.insert_refresh(q, digest_of(known), session_id, now)
            if not spent:
                return known
            token = known
        raise PollroomError("RATE_LIMITED", retry_after=1.0)

    async def _find_successor(self, q: Queries, token: str) -> tuple[str | None, bool]:
        """A successor that exists, whichever key derived it, and whether it is spent."""
        for key in self._keys:
            candidate = self._derive(key, token)
            found = await model.refresh_spent_at(q, digest_of(candidate))
            if found is not None:
                return candidate, found[0] is not None
        return None, False

    @staticmethod
    def _derive(key: bytes, token: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(key, token.encode(), "sha256")).rstrip(b"=").decode()


def digest_of(token: str) -> str:
    """What SQL keeps of a refresh token: who reads the table cannot use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
