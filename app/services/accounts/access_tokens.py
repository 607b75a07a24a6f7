"""Access tokens: HS256, with everything a request needs to know about its user, so that no request queries SQL."""

import hashlib
import secrets
from collections import OrderedDict
from typing import Annotated, Any, Final, Literal

import jwt
import msgspec
from msgspec import Meta

from ...domain.errors import PollroomError
from ...domain.users import Identity, User
from ...domain.values import Id

ALGORITHM: Final = "HS256"
MAX_TOKEN: Final = 4096
_REQUIRED: Final = ("sub", "sid", "type", "iat", "exp", "jti", "guest", "created")
_CACHED: Final = 20_000
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last time that RFC 3339 can name."""


class _Claims(msgspec.Struct):
    """The claims of an access token. Every other type or range makes the token invalid."""

    type: Literal["access"]
    sub: Id
    sid: Id
    jti: str
    guest: bool
    iat: int | float
    exp: Annotated[int, Meta(le=_LAST_SECOND)] | Annotated[float, Meta(le=_LAST_SECOND)]
    created: Annotated[int, Meta(ge=0, le=_LAST_SECOND * 1000)]
    name: str | None = None
    email: str | None = None


class AccessTokens:
    """Signs and verifies tokens without a clock: callers of ``verify`` compare ``expires_at`` with Redis time."""

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
        """The identity in an access token, expired or not. Raises ``UNAUTHENTICATED`` for anything else."""
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
        # The caller compares times with Redis time; PyJWT would use the host's clock.
        options: Any = {
            "require": list(_REQUIRED),
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_aud": False,
        }
        try:
            payload = self._jwt.decode(token, self._secret, algorithms=[ALGORITHM], options=options)
            claims = msgspec.convert(payload, _Claims)
            for text in (claims.name, claims.email):
                (text or "").encode()  # a lone surrogate could not be sent to anybody
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise PollroomError("UNAUTHENTICATED") from None
        user = User(claims.sub, claims.email, claims.name, claims.guest, claims.created)
        return Identity(user, claims.sid, round(claims.exp * 1000))
