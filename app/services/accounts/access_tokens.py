"""Access tokens: HS256, with everything a request needs to know about its user, so that no request queries SQL."""

import base64
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Protocol

import jwt
import msgspec
from msgspec import Meta

from ...domain.errors import PollroomError
from ...domain.users import Identity, User
from ...domain.values import Id
from ...utils.secret_keys import SecretKeys

ALGORITHM: Final = "HS256"
ISSUER: Final = "pollroom"
MAX_TOKEN: Final = 4096
_REQUIRED: Final = ("sub", "sid", "type", "iat", "exp", "jti", "guest", "created")
_CACHED: Final = 20_000
LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last time that RFC 3339 can name."""


class _OldClaims(msgspec.Struct):
    """The claims of an access token. Every other type or range makes the token invalid.

    Tokens of before keys had names have no ``kid``, ``iss`` and ``aud``, and were signed with the secret itself.
    """

    type: Literal["access"]
    sub: Id
    sid: Id
    jti: str
    guest: bool
    iat: int | float
    exp: Annotated[int, Meta(le=LAST_SECOND)] | Annotated[float, Meta(le=LAST_SECOND)]
    created: Annotated[int, Meta(ge=0, le=LAST_SECOND * 1000)]
    name: str | None = None
    email: str | None = None
    proven: bool = False


class _Claims(_OldClaims, kw_only=True):
    iss: Literal["pollroom"]
    aud: Literal["pollroom"]


class Issuer(Protocol):
    """Another issuer of tokens. ``on_new_keys`` is called when those of before may no longer hold."""

    issuer: str
    on_new_keys: Callable[[], None]

    def identify(self, token: str) -> Identity: ...


class AccessTokens:
    """Signs and verifies tokens without a clock: callers of ``verify`` compare ``expires_at`` with Redis time."""

    def __init__(self, secrets: SecretKeys, own_users: Issuer | None = None) -> None:
        self._own_users = own_users
        if own_users is not None:
            own_users.on_new_keys = lambda: self._verified.clear()
        self._keys = {_key_id(key): key for key in secrets.derived("access tokens")}
        self.key_id = next(iter(self._keys))
        self._secrets = secrets.secrets
        self._jwt = jwt.PyJWT()
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()

    def sign(self, user: User, session_id: str, now: int, expires_at: int) -> str:
        """``now`` and ``expires_at`` in milliseconds; ``exp`` and ``iat`` in the token are seconds with decimals."""
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "type": "access",
            "sub": user.id,
            "sid": session_id,
            "name": user.name,
            "email": user.email,
            "guest": user.guest,
            **({"proven": True} if user.proven else {}),
            "created": user.created_at,
            "iat": now / 1000,
            "exp": expires_at / 1000,
            "jti": secrets.token_urlsafe(8),
        }
        headers = {"kid": self.key_id}
        return self._jwt.encode(claims, self._keys[self.key_id], algorithm=ALGORITHM, headers=headers)

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
        if self._own_users is not None and issuer_of(token) == self._own_users.issuer:
            return self._own_users.identify(token)
        # The caller compares times with Redis time; PyJWT would use the host's clock.
        options: Any = {
            "require": list(_REQUIRED),
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_aud": False,
        }
        try:
            header = jwt.get_unverified_header(token)
            if "kid" in header:
                key = self._keys.get(header["kid"])
                if key is None:
                    raise PollroomError("UNAUTHENTICATED")
                payload = self._jwt.decode(token, key, algorithms=[ALGORITHM], options=options)
                claims: _OldClaims = msgspec.convert(payload, _Claims)
            else:
                payload = self._decode_old(token, options)
                if "iss" in payload or "aud" in payload:
                    raise PollroomError("UNAUTHENTICATED")
                claims = msgspec.convert(payload, _OldClaims)
            for text in (claims.name, claims.email):
                (text or "").encode()  # a lone surrogate could not be sent to anybody
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise PollroomError("UNAUTHENTICATED") from None
        user = User(claims.sub, claims.email, claims.name, claims.guest, claims.created, claims.proven)
        return Identity(user, claims.sid, round(claims.exp * 1000))

    def _decode_old(self, token: str, options: Any) -> dict[str, Any]:
        for secret in self._secrets:
            try:
                found: dict[str, Any] = self._jwt.decode(
                    token, secret, algorithms=[ALGORITHM], options=options
                )
            except jwt.InvalidSignatureError:
                continue
            return found
        raise PollroomError("UNAUTHENTICATED")


def issuer_of(token: str) -> str | None:
    """The ``iss`` of a token, not verified."""
    try:
        found = jwt.PyJWT().decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _key_id(key: bytes) -> str:
    """Names a key without telling it."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"kid" + key).digest())[:8].decode()
