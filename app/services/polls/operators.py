"""What operators do with accounts and polls. Each action leaves a line in the audit log."""

import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from ...domain.credentials import clean_email
from ...domain.errors import DuplicateKey, PollroomError
from ...domain.users import User
from ...domain.values import is_id, new_id
from ...ports.clock import Clock
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import audit, polls, users
from ..accounts.password_hashing import PasswordHashing
from .option_images import OptionImages

PASSWORD_MS: Final = 86_400_000
"""Within which a one-time password has to be used."""
CHUNK: Final = 500


class Operators:
    """Running servers learn of it within 5 seconds. ``NOT_FOUND`` for accounts and polls that there are not."""

    def __init__(
        self, database: Database, ledger: Ledger, clock: Clock, hasher: PasswordHashing, images: OptionImages
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._hasher = hasher
        self._images = images

    async def accounts(self) -> AsyncIterator[dict[str, Any]]:
        """All accounts: ``id, email, name, created_at, suspended_at``."""
        after = ""
        while rows := await users.page(self._database, after, CHUNK):
            for row in rows:
                yield row
            after = rows[-1]["id"]

    async def add_account(self, email: str) -> str:
        """A one-time password. ``EMAIL_TAKEN``, ``VALIDATION_FAILED``."""
        now = self._clock.now()
        user = User(new_id(), clean_email(email), None, False, now)
        password = secrets.token_urlsafe(12)
        new_hash = await self._hasher.hash(password)
        try:
            async with self._database.transaction() as q:
                await users.insert_user(q, user, new_hash)
                await users.set_password(q, user.id, new_hash, now + PASSWORD_MS)
                await audit.add(q, [audit.Entry(now, "account_added", user.id, "operator")])
        except DuplicateKey:
            raise PollroomError("EMAIL_TAKEN") from None
        return password

    async def reset_password(self, who: str) -> str:
        """A one-time password. All sessions end."""
        user_id = await self._user_id(who)
        password, now = secrets.token_urlsafe(12), self._clock.now()
        new_hash = await self._hasher.hash(password)
        async with self._database.transaction() as q:
            locked = await users.lock_user(q, user_id)
            if locked is None or locked.password_hash is None:
                raise PollroomError("NOT_FOUND", "This user has no password.")
            await users.set_password(q, user_id, new_hash, now + PASSWORD_MS)
            await users.revoke_sessions(q, user_id, now)
            await audit.add(q, [audit.Entry(now, "password_reset", user_id, "operator")])
        return password

    async def suspend(self, who: str, *, resume: bool = False) -> None:
        user_id, now = await self._user_id(who), self._clock.now()
        async with self._database.transaction() as q:
            await users.suspend(q, user_id, None if resume else now)
            if not resume:
                await users.revoke_sessions(q, user_id, now)
                await users.revoke_tokens(q, user_id, now)
            event: audit.Event = "account_resumed" if resume else "account_suspended"
            await audit.add(q, [audit.Entry(now, event, user_id, "operator")])

    async def delete_account(self, who: str) -> None:
        """The worker deletes its polls."""
        user_id, now = await self._user_id(who), self._clock.now()
        async with self._database.transaction() as q:
            await users.revoke_tokens(q, user_id, now)
            await users.remove_account(q, user_id, now)
            await audit.add(q, [audit.Entry(now, "account_deleted", user_id, "operator")])

    async def delete_poll(self, poll: str) -> str:
        """By id or join code; its id."""
        found = await polls.find(self._database, poll) if is_id(poll) else None
        poll_id = found.id if found else await polls.id_of_any_code(self._database, poll.upper())
        if poll_id is None:
            raise PollroomError("NOT_FOUND")
        await self._ledger.delete(poll_id)
        await self._images.discard_all(poll_id)
        await audit.add(self._database, [audit.Entry(self._clock.now(), "poll_deleted", None, poll_id)])
        return poll_id

    async def audited(self, limit: int) -> list[dict[str, Any]]:
        return await audit.latest(self._database, limit)

    async def _user_id(self, who: str) -> str:
        """By e-mail or id."""
        if "@" in who:
            known = await users.find_login(self._database, clean_email(who))
            user = known[0] if known else None
        else:
            user = await users.find_user(self._database, who) if is_id(who) else None
        if user is None:
            raise PollroomError("NOT_FOUND", "There is no such account.")
        return user.id
