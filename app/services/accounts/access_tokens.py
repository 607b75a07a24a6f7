"""Access tokens: HS256, all that a request needs to know of its user inside, so that none asks SQL."""

import hashlib
import math
import secrets
from collections import OrderedDict
from typing import Any, Final

import jwt

from ...domain.errors import PollroomError
from ...domain.users import Identity, User

ALGORITHM: Final = "HS256"
MAX_TOKEN: Final = 4096
_REQUIRED: Final = ("sub", "sid", "type", "iat", "exp", "jti", "guest", "created")
_CACHED: Final = 20_000


class AccessTokens:
    """Signs and verifies. Neither knows the time: who calls ``verify`` compares ``expires_at`` with the one clock."""

    def __init__(self, secret: str | bytes) -> None:
        self._secret = secret
        self._jwt = jwt.PyJWT()
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()

    def sign(self, user: User, session_id: str, now: int, expires_at: int) -> str:
        """``now`` and ``expires_at`` in milliseconds; ``exp`` and ``iat`` in the token are seconds with decimals."""
        claims = {
            "type": "access",
            "sub": user.id,
            "sid": session_id,
            "name": user.name,
            "email": user.email,
            "guest": user.guest,
            "created": user.created_at,
            "iat": now / 1000,
            "exp": expires_at / 1000,
            "jti": secrets.token_urlsafe(8),
        }
        return self._jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> Identity:
        """Whom an access token speaks for, expired or not. Anything else is ``UNAUTHENTICATED``."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise PollroomError("UNAUTHENTICATED")
        digest = hashlib.sha256(token.encode()).digest()
        identity = self._verified.get(digest)
        if identity is None:
            identity = self._verified[digest] = self._decode(token)
            if len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
        return identity

    def forget(self, token: str) -> None:
        """Drop an expired token from the cache."""
        self._verified.pop(hashlib.sha256(token.encode()).digest(), None)

    def _decode(self, token: str) -> Identity:
        # Times are compared with the one clock by the caller: PyJWT would take the host's.
        options: Any = {
            "require": list(_REQUIRED),
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_aud": False,
        }
        try:
            claims = self._jwt.decode(token, self._secret, algorithms=[ALGORITHM], options=options)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise PollroomError("UNAUTHENTICATED") from None
        if claims["type"] != "access" or not _well_typed(claims):
            raise PollroomError("UNAUTHENTICATED")
        user = User(
            claims["sub"], claims.get("email"), claims.get("name"), claims["guest"], claims["created"]
        )
        return Identity(user, claims["sid"], round(claims["exp"] * 1000))


def _well_typed(claims: dict[str, Any]) -> bool:
    exp = claims["exp"]
    return (
        isinstance(claims["sub"], str)
        and isinstance(claims["sid"], str)
        and isinstance(claims["guest"], bool)
        and isinstance(claims["created"], int)
        and isinstance(exp, int | float)
        and not isinstance(exp, bool)
        and math.isfinite(exp)
        and isinstance(claims.get("email"), str | None)
        and isinstance(claims.get("name"), str | None)
    )
