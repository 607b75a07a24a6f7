"""Tokens of an app's own issuer: whom they speak for here, and the issuer's keys."""

import asyncio
import base64
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Meta

from ...domain.credentials import clean_name
from ...domain.errors import PollroomError
from ...domain.users import Identity, User
from ...utils import logger
from ...utils.shared_wait import outcome
from .access_tokens import LAST_SECOND, MAX_TOKEN, issuer_of

REFETCH_SECONDS: Final = 30.0
"""At least so long between two fetches of the keys."""
STALE_SECONDS: Final = 300.0
"""Keys are fetched again in the background once they are this old."""
FETCH_SECONDS: Final = 5.0
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
ID_CHARACTERS: Final = 26

Key = tuple[str, Any]
"""Its only algorithm, and what PyJWT verifies with."""

log = logger.get(__name__)


class _Claims(msgspec.Struct):
    sub: Annotated[str, Meta(min_length=1, max_length=255)]
    exp: Annotated[int, Meta(ge=0, le=LAST_SECOND)] | Annotated[float, Meta(ge=0, le=LAST_SECOND)]
    iat: Annotated[int, Meta(ge=0, le=LAST_SECOND)] | Annotated[float, Meta(ge=0, le=LAST_SECOND)] | None = (
        None
    )
    nbf: Annotated[int, Meta(ge=0, le=LAST_SECOND)] | Annotated[float, Meta(ge=0, le=LAST_SECOND)] | None = (
        None
    )


def key_of(public_key: Any) -> Key | None:
    """A public key with the one algorithm that its type allows. None for other types: never a shared secret."""
    if isinstance(public_key, RSAPublicKey) and public_key.key_size >= MIN_RSA_BITS:
        return "RS256", public_key
    if isinstance(public_key, EllipticCurvePublicKey) and isinstance(public_key.curve, SECP256R1):
        return "ES256", public_key
    if isinstance(public_key, Ed25519PublicKey):
        return "EdDSA", public_key
    return None


def key_of_pem(pem: str) -> Key:
    """``ValueError`` for anything but a public key of such a type."""
    key = key_of(load_pem_public_key(pem.encode()))
    if key is None:
        raise ValueError("a key of another type")
    return key


def keys_of_jwks(data: bytes) -> dict[str | None, Key]:
    """Key id -> key. Keys that cannot be used are left out. ``ValueError`` for what is no key set."""
    try:
        listed = msgspec.json.decode(data, type=dict[str, Any])["keys"]
    except (msgspec.DecodeError, KeyError) as error:
        raise ValueError("no JSON Web Key Set") from error
    found: dict[str | None, Key] = {}
    for entry in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        try:
            if entry.get("use", "sig") != "sig":
                continue
            key = key_of(jwt.PyJWK(entry).key)
            kid = entry.get("kid")
            if key is not None and entry.get("alg", key[0]) == key[0] and isinstance(kid, str | None):
                found[kid] = key
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            continue
    return found


class OwnUsers:
    """``fetch``: the issuer's key set; None where ``keys`` holds its only key. ``secret``: makes ids of subjects.

    ``on_new_keys`` is called when the keys changed.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: Mapping[str | None, Key],
        fetch: Callable[[], Awaitable[bytes]] | None,
        secret: bytes,
        now: Callable[[], int],
    ) -> None:
        self.issuer = issuer
        self._audience = audience
        self._keys = dict(keys)
        self._fetch = fetch
        self._secret = secret
        self._now = now
        self._jwt = jwt.PyJWT()
        self._fetching: asyncio.Task[None] | None = None
        self._fetched_at = float("-inf")
        self.on_new_keys: Callable[[], None] = lambda: None

    async def prepare(self, token: str) -> None:
        """Fetch the keys if the token names one that is not known, at most once in ``REFETCH_SECONDS``."""
        if self._fetch is None or len(token) > MAX_TOKEN:
            return
        if issuer_of(token) != self.issuer:
            return
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, RecursionError):
            return
        age = time.monotonic() - self._fetched_at
        known = self._key(kid) is not None
        if self._fetching is None and (age >= STALE_SECONDS if known else age >= REFETCH_SECONDS):
            self._fetched_at = time.monotonic()
            self._fetching = asyncio.create_task(self._refresh(self._fetch))
        if self._fetching is not None and not known:
            await outcome(self._fetching)

    def identify(self, token: str) -> Identity:
        """Whom the token speaks for, expired or not; without I/O. ``UNAUTHENTICATED`` for anything odd."""
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise PollroomError("UNAUTHENTICATED")
            options: Any = {
                "require": ["exp", "sub"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            }
            payload = self._jwt.decode(
                token,
                key[1],
                algorithms=[key[0]],
                options=options,
                issuer=self.issuer,
                audience=self._audience,
            )
            claims = msgspec.convert(payload, _Claims)
            subject = claims.sub.encode()
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise PollroomError("UNAUTHENTICATED") from None
        if claims.nbf is not None and claims.nbf * 1000 > self._now():
            raise PollroomError("UNAUTHENTICATED")
        user_id = self._user_id(subject)
        issued = claims.exp if claims.iat is None else claims.iat
        user = User(user_id, None, _name(payload.get("name")), False, round(issued * 1000))
        return Identity(user, user_id, round(claims.exp * 1000), own=True)

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _key(self, kid: Any) -> Key | None:
        if self._fetch is None:
            return self._keys.get(None)
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    def _user_id(self, subject: bytes) -> str:
        digest = hmac.digest(self._secret, self.issuer.encode() + b"\0" + subject, "sha256")
        return base64.urlsafe_b64encode(digest).decode()[:ID_CHARACTERS]

    async def _refresh(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = keys_of_jwks(await fetch())
            if keys.keys() != self._keys.keys() or any(
                keys[kid][1] != key for kid, (_, key) in self._keys.items()
            ):
                self._keys = keys
                self.on_new_keys()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("the keys of AUTH_JWKS_URL were not fetched", error=repr(error)[:200])
        finally:
            self._fetching = None


def _name(value: Any) -> str | None:
    try:
        return clean_name(value) if isinstance(value, str) else None
    except PollroomError:
        return None
