"""Accounts and sessions: who is it, and does the session still stand."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from ...domain.credentials import MAX_EMAIL, check_password, clean_email, clean_name
from ...domain.errors import DuplicateKey, Fields, PollroomError
from ...domain.users import Guest, Identity, Login, Refresh, Register, Session, User, UserView
from ...domain.values import is_id, new_id
from ...ports.clock import Clock
from ...ports.database import Database, Queries
from ...ports.messaging import Bus
from ...repositories import users as model
from ...utils import logger
from ...utils.client_address import network_of
from .access_tokens import AccessTokens
from .budgets import Budgets
from .password_hashing import PasswordHashing

CHANNEL: Final = "sessions"

# A revocation is stamped before its row is locked, and seen after it is committed: both windows reach further back.
_MARGIN_MS: Final = 60_000
_PUBLISH_SECONDS: Final = 1.0

log = logger.get(__name__)


class Sessions:
    """``grace_seconds``: how long a spent refresh token answers. ``session_seconds``: counted from the last refresh.

    Who serves calls ``refresh_revoked`` before the first request, after each reconnect of the bus and every 5 s, and
    subscribes ``on_revoked`` to ``CHANNEL``. ``on_logout`` is called once with each session id that was revoked.
    ``client``: the address of who asks, none where there is none.
    """

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        secret: str | bytes,
        access_seconds: float,
        grace_seconds: float,
        session_seconds: float,
        hasher: PasswordHashing,
        budgets: Budgets,
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._tokens = AccessTokens(secret)
        self._access_seconds = access_seconds
        self._access_ms = round(access_seconds * 1000)
        self._grace_ms = round(grace_seconds * 1000)
        self._session_ms = round(session_seconds * 1000)
        self._hasher = hasher
        self._budgets = budgets
        # Session id -> when this process learned of it, oldest first.
        self._revoked: dict[str, int] = {}
        self._revoked_until = 0
        self._refreshing = asyncio.Lock()
        self.on_logout: list[Callable[[str], None]] = []

    async def register(self, body: Register, client: str | None = None) -> Session:
        """``VALIDATION_FAILED``, ``EMAIL_TAKEN``; ``RATE_LIMITED`` where too many passwords wait."""
        await self._budgets.take("register", client)
        fields = Fields()
        email = fields.take(lambda: clean_email(body.email), "")
        name = fields.take(lambda: clean_name(body.name), None)
        fields.take(lambda: check_password(body.password), None)
        fields.done()
        password_hash = await self._hasher.hash(body.password)
        now = self._clock.now()
        user = User(new_id(), email, name, False, now)
        try:
            async with self._database.transaction() as q:
                await model.insert_user(q, user, password_hash)
                return await self._begin(q, user, now)
        except DuplicateKey:
            raise PollroomError("EMAIL_TAKEN") from None

    async def login(self, body: Login, client: str | None = None) -> Session:
        """``INVALID_CREDENTIALS`` alike, and as slowly, for an unknown user and a wrong password."""
        await self._budgets.take("login", client)
        try:
            email = clean_email(body.email)
        except PollroomError:
            email = ""  # no account has it
        if client is not None:
            account = email or body.email.strip().lower()[:MAX_EMAIL]
            await self._budgets.take("login_account", client, f"{network_of(client)} {account}")
        known = await model.find_login(self._database, email)
        if not await self._hasher.verify(known and known[1], body.password) or known is None:
            raise PollroomError("INVALID_CREDENTIALS")
        now = self._clock.now()
        async with self._database.transaction() as q:
            return await self._begin(q, known[0], now)

    async def guest(self, body: Guest, client: str | None = None) -> Session:
        await self._budgets.take("guest", client)
        now = self._clock.now()
        user = User(new_id(), None, clean_name(body.name), True, now)
        async with self._database.transaction() as q:
            await model.insert_user(q, user, None)
            return await self._begin(q, user, now)

    async def refresh(self, body: Refresh, client: str | None = None) -> Session:
        """A new pair of the same session. ``UNAUTHENTICATED`` for an unknown, spent or revoked refresh token.

        Use after the grace means that two hold the token: the session is revoked, for both.
        """
        await self._budgets.take("refresh", client)
        digest = _digest(body.refresh_token)
        async with self._database.transaction() as q:
            row = await model.lock_refresh(q, digest)
            now = self._clock.now()
            if row is None or row["revoked_at"] is not None or row["expires_at"] <= now:
                raise PollroomError("UNAUTHENTICATED")
            session_id = str(row["session_id"])
            stolen = row["spent_at"] is not None and now > row["spent_at"] + self._grace_ms
            if stolen:
                await model.revoke_session(q, session_id, now)
            else:
                if row["spent_at"] is None:
                    await model.spend_refresh(q, digest, now)
                await model.extend_session(q, session_id, now + self._session_ms)
                session = await self._issue(q, model.user_of(row), session_id, now)
        if stolen:
            await self._spread(session_id)
            raise PollroomError("UNAUTHENTICATED")
        return session

    async def logout(self, identity: Identity) -> None:
        """Ends the session on every instance: SQL first, the bus and this process only then."""
        await model.revoke_session(self._database, identity.session_id, self._clock.now())
        await self._spread(identity.session_id)

    def authenticate(self, token: str) -> Identity:
        """Whom the access token speaks for; without I/O. ``TOKEN_EXPIRED``, or ``UNAUTHENTICATED`` for a bad one."""
        identity = self._tokens.verify(token)
        if identity.expires_at <= self._clock.now():
            self._tokens.forget(token)
            raise PollroomError("TOKEN_EXPIRED")
        if identity.session_id in self._revoked:
            raise PollroomError("UNAUTHENTICATED")
        return identity

    async def refresh_revoked(self) -> None:
        """Read the sessions that were revoked lately: everything at first, then what is new."""
        async with self._refreshing:
            now = self._clock.now()
            since = max(now - self._access_ms, self._revoked_until) - _MARGIN_MS
            for session_id in await model.revoked_since(self._database, since):
                self._revoke(session_id)
            self._revoked_until = now
        keep_from = now - self._access_ms - 2 * _MARGIN_MS
        for session_id in [sid for sid, at in self._revoked.items() if at < keep_from]:
            del self._revoked[session_id]

    def on_revoked(self, payload: bytes) -> None:
        """A message of ``CHANNEL``: the id of a session that another instance revoked."""
        session_id = payload.decode("ascii", "replace")
        if is_id(session_id):
            self._revoke(session_id)

    async def _begin(self, q: Queries, user: User, now: int) -> Session:
        session_id = new_id()
        await model.insert_session(q, session_id, user.id, now, now + self._session_ms)
        return await self._issue(q, user, session_id, now)

    async def _issue(self, q: Queries, user: User, session_id: str, now: int) -> Session:
        refresh_token = secrets.token_urlsafe(32)
        await model.insert_refresh(q, _digest(refresh_token), session_id, now)
        access_token = self._tokens.sign(user, session_id, now, now + self._access_ms)
        return Session(UserView.of(user), access_token, refresh_token, self._access_seconds)

    async def _spread(self, session_id: str) -> None:
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await self._bus.publish(CHANNEL, session_id.encode())
        except (PollroomError, TimeoutError) as error:
            # The others read it from SQL within 5 s.
            log.warning("revocation not published", error=str(error))
        finally:
            self._revoke(session_id)

    def _revoke(self, session_id: str) -> None:
        if session_id not in self._revoked:
            self._revoked[session_id] = self._clock.now()
            for callback in self.on_logout:
                callback(session_id)


def _digest(token: str) -> str:
    """What SQL keeps of a refresh token: who reads the table cannot use it."""
    return hashlib.sha256(token.encode()).hexdigest()
