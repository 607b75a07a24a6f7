"""Accounts and sessions: who is it, and does the session still stand."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...domain.credentials import MAX_EMAIL, clean_email, clean_name
from ...domain.errors import DuplicateKey, Fields, PollroomError
from ...domain.users import Guest, Identity, Login, Refresh, Register, Session, User, UserView
from ...domain.values import is_id, new_id
from ...ports.clock import Clock
from ...ports.database import Database, Queries
from ...ports.messaging import Bus
from ...repositories import audit as audit_log
from ...repositories import users as model
from ...utils import logger
from ...utils.client_address import network_of, shortened
from ...utils.secret_keys import SecretKeys
from .access_tokens import AccessTokens
from .audit import AuditQueue
from .budgets import Budgets
from .challenges import Challenges
from .own_users import OwnUsers
from .password_hashing import PasswordHashing
from .password_rules import check_new_password
from .refresh_tokens import RefreshTokens, digest_of

CHANNEL: Final = "sessions"

# A revocation is stamped before its row is locked, and seen after it is committed: both windows reach further back.
_MARGIN_MS: Final = 60_000
_PUBLISH_SECONDS: Final = 1.0

log = logger.get(__name__)


class Sessions:
    """``grace_seconds``: how long a spent refresh token answers. ``session_seconds``: counted from the log-in.

    Who serves calls ``refresh_revoked`` before the first request, after each reconnect of the bus and every 5 s, and
    subscribes ``on_revoked`` to ``CHANNEL``. ``on_logout`` is called once with each session id that was revoked.
    ``client``: the address of who asks, none where there is none.
    """

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        keys: SecretKeys,
        access_seconds: float,
        grace_seconds: float,
        session_seconds: float,
        hasher: PasswordHashing,
        budgets: Budgets,
        challenges: Challenges,
        own_users: OwnUsers | None = None,
        audit: AuditQueue | None = None,
        registration_open: bool = True,
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._tokens = AccessTokens(keys, own_users)
        self._own_users = own_users
        self._audit = audit
        self._registration_open = registration_open
        self.logins = Counter({"accepted": 0, "refused": 0})
        self._refresh_tokens = RefreshTokens(keys)
        self._access_ms = round(access_seconds * 1000)
        self._grace_ms = round(grace_seconds * 1000)
        self._session_ms = round(session_seconds * 1000)
        self._hasher = hasher
        self._budgets = budgets
        self._challenges = challenges
        # Session id -> when this process learned of it, oldest first.
        self._revoked: dict[str, int] = {}
        self._revoked_until = 0
        self._suspended: set[str] = set()
        self._refreshing = asyncio.Lock()
        self.on_logout: list[Callable[[str], None]] = []

    async def register(self, body: Register, client: str | None = None) -> Session:
        """``VALIDATION_FAILED``, ``EMAIL_TAKEN``; ``RATE_LIMITED`` where too many passwords wait."""
        if not self._registration_open:
            raise PollroomError("FORBIDDEN", "Registration is closed.")
        await self._budgets.take("register", client)
        fields = Fields()
        email = fields.take(lambda: clean_email(body.email), "")
        name = fields.take(lambda: clean_name(body.name), None)
        fields.take(lambda: check_new_password(body.password, email), None)
        fields.done()
        password_hash = await self._hasher.hash(body.password, client)
        now = self._clock.now()
        user = User(new_id(), email, name, False, now)
        try:
            async with self._database.transaction() as q:
                await model.insert_user(q, user, password_hash)
                await audit_log.add(q, [audit_log.Entry(now, "registered", user.id, network_name(client))])
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
        await self.spend_login(email or body.email.strip().lower()[:MAX_EMAIL], client)
        known = await model.find_login(self._database, email)
        right = await self._hasher.verify(known and known[1], body.password, client)
        session = await self._log_in(known[0], known[1], client) if right and known is not None else None
        if session is None:
            self._refuse_login(known[0].id if known else None, client)
            raise PollroomError("INVALID_CREDENTIALS")
        self.logins["accepted"] += 1
        return session

    async def _log_in(self, user: User, verified: str, client: str | None) -> Session | None:
        """None where the verified password was changed meanwhile, or is of no use."""
        now = self._clock.now()
        async with self._database.transaction() as q:
            locked = await model.lock_user(q, user.id)
            if locked is None or locked.password_hash != verified or locked.suspended_at is not None:
                return None
            if locked.password_until is not None:
                if locked.password_until <= now:
                    return None
                await model.use_password(q, user.id)
            await audit_log.add(q, [audit_log.Entry(now, "logged_in", user.id, network_name(client))])
            return await self._begin(q, user, now)

    def _refuse_login(self, user_id: str | None, client: str | None) -> None:
        self.logins["refused"] += 1
        network = network_name(client)
        log.info("log-in refused", network=network)
        if self._audit is not None:
            self._audit.put(audit_log.Entry(self._clock.now(), "login_refused", user_id, network))

    async def spend_login(self, account: str, client: str | None) -> None:
        """``RATE_LIMITED`` where too many passwords of an account were tried from the client's network."""
        if client is not None:
            await self._budgets.take("login_account", client, f"{network_of(client)} {account}")

    async def guest(self, body: Guest, client: str | None = None) -> Session:
        """``CHALLENGE_REQUIRED`` where every guest needs one, and no ``solution`` came."""
        await self._budgets.take("guest", client)
        name = clean_name(body.name)
        if body.solution is not None:
            await self._challenges.check(body.solution)
        elif self._challenges.for_every_guest:
            raise PollroomError("CHALLENGE_REQUIRED")
        now = self._clock.now()
        user = User(new_id(), None, name, True, now, body.solution is not None)
        async with self._database.transaction() as q:
            await model.insert_user(q, user, None)
            return await self._begin(q, user, now)

    async def refresh(self, body: Refresh, client: str | None = None) -> Session:
        """A new pair of the same session. ``UNAUTHENTICATED`` for an unknown, spent or revoked refresh token.

        Use after the grace means that two hold the token: the session is revoked, for both.
        """
        await self._budgets.take("refresh", client)
        await self.prepare(body.refresh_token)
        if self._is_own(body.refresh_token):
            raise not_ours()
        digest = digest_of(body.refresh_token)
        async with self._database.transaction() as q:
            row = await model.lock_refresh(q, digest)
            now = self._clock.now()
            if row is None or row["revoked_at"] is not None or self._ended(row, now):
                raise PollroomError("UNAUTHENTICATED")
            session_id, spent_at = str(row["session_id"]), row["spent_at"]
            stolen = spent_at is not None and now > spent_at + self._grace_ms
            if stolen:
                await model.revoke_session(q, session_id, now)
            else:
                successor = await self._refresh_tokens.succeed(q, body.refresh_token, session_id, now)
                if spent_at is None:
                    await model.spend_refresh(q, digest, now)
                await model.use_session(q, session_id, now)
                session = self._issue(model.user_of(row), session_id, row["began_at"], successor, now)
        if stolen:
            await self.announce_ended([session_id])
            raise PollroomError("UNAUTHENTICATED")
        return session

    async def logout(self, identity: Identity) -> None:
        """Ends the session on every instance: SQL first, the bus and this process only then."""
        if identity.own:
            raise not_ours()
        await model.revoke_session(self._database, identity.session_id, self._clock.now())
        await self.announce_ended([identity.session_id])

    async def prepare(self, token: str) -> None:
        """Call it before ``authenticate`` with a token that has just come: its issuer's key may have to be fetched."""
        if self._own_users is not None:
            await self._own_users.prepare(token)

    def authenticate(self, token: str) -> Identity:
        """Whom the access token speaks for; without I/O. ``TOKEN_EXPIRED``, or ``UNAUTHENTICATED`` for a bad one."""
        identity = self._tokens.verify(token)
        if identity.expires_at <= self._clock.now():
            self._tokens.forget(token)
            raise PollroomError("TOKEN_EXPIRED")
        if identity.session_id in self._revoked or identity.user.id in self._suspended:
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
            self._suspended = await model.suspended(self._database)
        keep_from = now - self._access_ms - 2 * _MARGIN_MS
        for session_id in [sid for sid, at in self._revoked.items() if at < keep_from]:
            del self._revoked[session_id]

    def on_revoked(self, payload: bytes) -> None:
        """A message of ``CHANNEL``: the id of a session that another instance revoked."""
        session_id = payload.decode("ascii", "replace")
        if is_id(session_id):
            self._revoke(session_id)

    async def renew(self, q: Queries, identity: Identity, now: int) -> Session | None:
        """A pair that replaces all refresh tokens of the session. None if it has ended meanwhile."""
        row = await model.find_session(q, identity.session_id)
        if (
            row is None
            or row["revoked_at"] is not None
            or self._ended({**row, "began_at": row["created_at"]}, now)
        ):
            return None
        await model.delete_refresh_tokens(q, identity.session_id)
        token = await self._refresh_tokens.first(q, identity.session_id, now)
        return self._issue(identity.user, identity.session_id, row["created_at"], token, now)

    async def announce_ended(self, session_ids: Sequence[str]) -> None:
        """Tell every instance of sessions that SQL has as revoked."""
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                for session_id in session_ids:
                    await self._bus.publish(CHANNEL, session_id.encode())
        except (PollroomError, TimeoutError) as error:
            # The others read it from SQL within 5 s.
            log.warning("revocation not published", error=str(error))
        finally:
            for session_id in session_ids:
                self._revoke(session_id)

    def _is_own(self, token: str) -> bool:
        try:
            return self._own_users is not None and self._tokens.verify(token).own
        except PollroomError:
            return False

    @property
    def session_ms(self) -> int:
        return self._session_ms

    def _ended(self, row: Mapping[str, Any], now: int) -> bool:
        """Also after a shorter ``session_seconds`` was set, and for sessions that refreshes once prolonged."""
        return bool(min(row["expires_at"], row["began_at"] + self._session_ms) <= now)

    async def _begin(self, q: Queries, user: User, now: int) -> Session:
        session_id = new_id()
        await model.insert_session(q, session_id, user.id, now, now + self._session_ms)
        return self._issue(user, session_id, now, await self._refresh_tokens.first(q, session_id, now), now)

    def _issue(self, user: User, session_id: str, began_at: int, refresh_token: str, now: int) -> Session:
        life = min(self._access_ms, began_at + self._session_ms - now)
        access_token = self._tokens.sign(user, session_id, now, now + life)
        return Session(UserView.of(user), access_token, refresh_token, life / 1000)

    def _revoke(self, session_id: str) -> None:
        if session_id not in self._revoked:
            self._revoked[session_id] = self._clock.now()
            for callback in self.on_logout:
                callback(session_id)


def not_ours() -> PollroomError:
    return PollroomError("FORBIDDEN", "The app's own issuer ends and renews such sessions.")


def network_name(client: str | None) -> str:
    """For the audit log: the client's network, never its whole address."""
    return shortened(client) if client else ""
