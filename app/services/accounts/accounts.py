"""What users do with their own account: change the password, end sessions, delete it."""

from msgspec.structs import replace

from ...domain.credentials import clean_email
from ...domain.cursors import Cursors
from ...domain.errors import PollroomError, invalid
from ...domain.users import ChangePassword, Identity, Session, SessionView
from ...domain.values import is_id, rfc3339
from ...ports.clock import Clock
from ...ports.database import Database, Queries
from ...repositories import audit
from ...repositories import users as model
from .challenges import Challenges
from .password_hashing import PasswordHashing
from .password_rules import check_new_password
from .sessions import Sessions, network_name, not_ours


class Accounts:
    """``client``: the address of who asks, none where there is none."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sessions: Sessions,
        hasher: PasswordHashing,
        challenges: Challenges,
        cursors: Cursors,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._hasher = hasher
        self._challenges = challenges
        self._cursors = cursors

    async def change_password(self, identity: Identity, body: ChangePassword, client: str | None) -> Session:
        """A new pair of tokens; every other session ends, and so do the refresh tokens of this one.

        ``FORBIDDEN`` for guests, ``VALIDATION_FAILED``, ``INVALID_CREDENTIALS``.
        """
        if identity.own:
            raise not_ours()
        if identity.user.email is None:
            raise PollroomError("FORBIDDEN", "Guests have no password.")
        try:
            check_new_password(body.new_password, clean_email(identity.user.email))
        except PollroomError as error:
            text = (error.fields or {})["password"]
            raise PollroomError("VALIDATION_FAILED", fields={"password": text, "newPassword": text}) from None
        known = await self._verified(identity, body.password, client)
        new_hash = await self._hasher.hash(body.new_password, client)
        now = self._clock.now()
        async with self._database.transaction() as q:
            locked = await model.lock_user(q, identity.user.id)
            if locked is None or locked.password_hash != known:
                raise PollroomError("INVALID_CREDENTIALS")
            await model.set_password(q, identity.user.id, new_hash)
            await audit.add(q, [audit.Entry(now, "password_changed", identity.user.id, network_name(client))])
            session = await self._sessions.renew(q, identity, now)
            if session is None:
                raise PollroomError("UNAUTHENTICATED")
            ended = await model.revoke_sessions(q, identity.user.id, now, but=identity.session_id)
        await self._sessions.announce_ended(ended)
        return session

    async def prove(self, identity: Identity, solution: str) -> Session:
        """A new pair of tokens for a guest who solved a challenge. ``FORBIDDEN`` for others, ``VALIDATION_FAILED``."""
        if not identity.user.guest:
            raise PollroomError("FORBIDDEN", "Only guests solve challenges.")
        await self._challenges.check(solution)
        proven = replace(identity, user=replace(identity.user, proven=True))
        async with self._database.transaction() as q:
            await model.prove(q, identity.user.id)
            session = await self._sessions.renew(q, proven, self._clock.now())
        if session is None:
            raise PollroomError("UNAUTHENTICATED")
        return session

    async def sessions(
        self, identity: Identity, limit: int, cursor: str | None
    ) -> tuple[list[SessionView], str | None]:
        """Sessions of this user that have not ended, newest first, and the cursor of the next page, none at the end."""
        user_id, now = identity.user.id, self._clock.now()
        before = self._cursors.unsign("sessions", user_id, cursor)
        since = now - self._sessions.session_ms
        rows = await model.sessions_page(self._database, user_id, before, limit + 1, now, since)
        views = [
            SessionView(
                row["id"],
                rfc3339(row["created_at"]),
                rfc3339(row["last_used_at"]),
                row["id"] == identity.session_id,
            )
            for row in rows[:limit]
        ]
        following = self._cursors.sign("sessions", user_id, views[-1].id) if len(rows) > limit else None
        return views, following

    async def end_session(self, identity: Identity, session_id: str) -> None:
        """``NOT_FOUND`` unless it is a session of this user that has not ended."""
        row = await model.find_session(self._database, session_id) if is_id(session_id) else None
        if row is None or row["user_id"] != identity.user.id:
            raise PollroomError("NOT_FOUND")
        if not await model.revoke_session(self._database, session_id, self._clock.now()):
            raise PollroomError("NOT_FOUND")
        await self._sessions.announce_ended([session_id])

    async def end_all_sessions(self, identity: Identity) -> None:
        async with self._database.transaction() as q:
            ended = await self._revoke_all(q, identity, self._clock.now())
        await self._sessions.announce_ended(ended)

    async def delete(self, identity: Identity, password: str | None, client: str | None) -> None:
        """The account and its sessions end now; the worker deletes its polls. ``INVALID_CREDENTIALS`` for a wrong password."""
        known: str | None = None
        if identity.user.email is not None:
            if password is None:
                raise invalid("password", "is required")
            known = await self._verified(identity, password, client)
        now = self._clock.now()
        async with self._database.transaction() as q:
            locked = await model.lock_user(q, identity.user.id)
            if not identity.own and (locked is None or locked.password_hash != known):
                raise PollroomError("INVALID_CREDENTIALS" if known else "UNAUTHENTICATED")
            if identity.own:
                await model.revoke_tokens(q, identity.user.id, now)
            ended = await model.remove_account(q, identity.user.id, now)
            await audit.add(q, [audit.Entry(now, "account_deleted", identity.user.id, network_name(client))])
        await self._sessions.announce_ended([*ended, *([identity.user.id] if identity.own else [])])

    @staticmethod
    async def _revoke_all(q: Queries, identity: Identity, now: int) -> list[str]:
        """Of an own user, who has no session here, all tokens until the memory of revoked sessions forgets them."""
        ended = await model.revoke_sessions(q, identity.user.id, now)
        if identity.own:
            await model.revoke_tokens(q, identity.user.id, now)
            return [identity.user.id]
        return ended

    async def _verified(self, identity: Identity, password: str, client: str | None) -> str:
        """The user's password hash. Guesses share the budget of log-ins."""
        await self._sessions.spend_login(identity.user.email or "", client)
        known = await model.password_hash(self._database, identity.user.id)
        if not await self._hasher.verify(known, password, client) or known is None:
            raise PollroomError("INVALID_CREDENTIALS")
        return known
