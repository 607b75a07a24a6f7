"""The queries of ``sql/queries/user.sql``: accounts, sessions, refresh tokens. Times in ms since the epoch."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..domain.users import User
from ..ports.database import Queries


def user_of(row: Mapping[str, Any]) -> User:
    """The user in a row of any query here that has one."""
    return User(
        row["id"], row["email"], row["name"], bool(row["guest"]), row["created_at"], bool(row["proven"])
    )


async def insert_user(q: Queries, user: User, password_hash: str | None) -> None:
    """``DuplicateKey`` where the e-mail is taken."""
    await q.run(
        "user.insert",
        id=user.id,
        email=user.email,
        password_hash=password_hash,
        name=user.name,
        guest=user.guest,
        created_at=user.created_at,
        proven=user.proven,
    )


async def prove(q: Queries, user_id: str) -> None:
    """A guest solved a challenge."""
    await q.run("user.prove", id=user_id)


async def find_user(q: Queries, user_id: str) -> User | None:
    row = await q.one("user.find", id=user_id)
    return None if row is None else user_of(row)


async def find_login(q: Queries, email: str) -> tuple[User, str] | None:
    """The account of a lower-case e-mail, and its password hash."""
    row = await q.one("user.login", email=email)
    return None if row is None else (user_of(row), row["password_hash"])


async def insert_session(q: Queries, session_id: str, user_id: str, created_at: int, expires_at: int) -> None:
    await q.run(
        "session.insert", id=session_id, user_id=user_id, created_at=created_at, expires_at=expires_at
    )


async def find_session(q: Queries, session_id: str) -> dict[str, Any] | None:
    """``id, user_id, created_at, expires_at, revoked_at``."""
    return await q.one("session.find", id=session_id)


async def revoke_session(q: Queries, session_id: str, at: int) -> bool:
    """Whether this call did it."""
    return await q.run("session.revoke", id=session_id, at=at) == 1


async def revoked_since(q: Queries, since: int) -> list[str]:
    return [row["id"] for row in await q.all("session.revoked_since", since=since)]


async def use_session(q: Queries, session_id: str, at: int) -> None:
    await q.run("session.used", id=session_id, at=at)


async def sessions_page(
    q: Queries, user_id: str, before_id: str | None, limit: int, now: int, since: int
) -> list[dict[str, Any]]:
    """``id, created_at, last_used_at`` of sessions that began after ``since`` and have not ended, newest first."""
    return await q.all(
        "session.page", user_id=user_id, before_id=before_id or "~", limit=limit, now=now, since=since
    )


async def revoke_sessions(q: Queries, user_id: str, at: int, but: str = "") -> list[str]:
    """In a transaction: end all sessions of a user except ``but``; their ids."""
    rows = await q.all("session.of_user", user_id=user_id)
    await q.run("session.revoke_of_user", user_id=user_id, at=at, but=but)
    return [row["id"] for row in rows if row["id"] != but]


async def revoke_tokens(q: Queries, user_id: str, at: int) -> None:
    """Tokens of an app's own user, by a session that has the user's id."""
    await q.run("session.revoke_tokens", id=user_id, at=at)


async def ensure_user(q: Queries, user: User) -> None:
    """The row of an app's own user, who may have one already."""
    await q.run("user.ensure", id=user.id, name=user.name, created_at=user.created_at)


async def delete_refresh_tokens(q: Queries, session_id: str) -> None:
    await q.run("refresh.delete_of_session", session_id=session_id)


async def refresh_spent_at(q: Queries, token_hash: str) -> tuple[int | None] | None:
    """When a refresh token was spent; none if it is not known."""
    row = await q.one("refresh.state", hash=token_hash)
    return None if row is None else (row["spent_at"],)


async def password_hash(q: Queries, user_id: str) -> str | None:
    row = await q.one("user.password_hash", id=user_id)
    return None if row is None else row["password_hash"]


class Locked(Struct, frozen=True):
    """``password_until``: null for a password of the user's own; until when a one-time one takes a log-in, 0 once it has."""

    password_hash: str | None
    suspended_at: int | None
    password_until: int | None


async def lock_user(q: Queries, user_id: str) -> Locked | None:
    """A user who does not change or go until the transaction ends; none if they are gone."""
    row = await q.one("user.lock", id=user_id)
    return None if row is None else Locked(**row)


async def set_password(q: Queries, user_id: str, new_hash: str, until: int | None = None) -> None:
    await q.run("user.set_password", id=user_id, password_hash=new_hash, until=until)


async def use_password(q: Queries, user_id: str) -> None:
    """A one-time password took its log-in."""
    await q.run("user.use_password", id=user_id)


async def suspend(q: Queries, user_id: str, at: int | None) -> None:
    await q.run("user.suspend", id=user_id, at=at)


async def suspended(q: Queries) -> set[str]:
    return {row["id"] for row in await q.all("user.suspended")}


async def page(q: Queries, after: str, limit: int) -> list[dict[str, Any]]:
    """Accounts with ``suspended_at``, by id: begin with an empty ``after``."""
    return await q.all("user.page", after=after, limit=limit)


async def remove_account(q: Queries, user_id: str, at: int) -> list[str]:
    """In a transaction: the account and its sessions, whose ids are returned, end. The worker deletes the polls."""
    ended = await revoke_sessions(q, user_id, at)
    for session_id in ended:
        await delete_refresh_tokens(q, session_id)
    await q.run("user.delete", id=user_id)
    await q.run("account.delete", user_id=user_id, deleted_at=at)
    return ended


async def deleted_accounts(q: Queries, limit: int) -> list[tuple[str, int]]:
    """Ids of accounts whose polls are still to be deleted, and since when."""
    return [(row["user_id"], row["deleted_at"]) for row in await q.all("account.deleted", limit=limit)]


async def forget_account(q: Queries, user_id: str) -> None:
    await q.run("account.forget", user_id=user_id)


async def insert_refresh(q: Queries, token_hash: str, session_id: str, created_at: int) -> None:
    await q.run("refresh.insert", hash=token_hash, session_id=session_id, created_at=created_at)


async def lock_refresh(q: Queries, token_hash: str) -> dict[str, Any] | None:
    """``session_id, spent_at``, the session's ``began_at, expires_at, revoked_at``, and the user's columns for ``user_of``."""
    return await q.one("refresh.lock", hash=token_hash)


async def spend_refresh(q: Queries, token_hash: str, at: int) -> None:
    await q.run("refresh.spend", hash=token_hash, at=at)


async def remove_expired(q: Queries, before: int, limit: int = 100) -> int:
    """Forget sessions that expired before ``before``, with their refresh tokens; how many. In a transaction."""
    rows = await q.all("session.expired", before=before, limit=limit)
    for row in rows:
        await q.run("refresh.delete_of_session", session_id=row["id"])
        await q.run("session.delete", id=row["id"])
    return len(rows)
