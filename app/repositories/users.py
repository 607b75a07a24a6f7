"""The queries of ``sql/queries/user.sql``: accounts, sessions, refresh tokens. Times in ms since the epoch."""

from collections.abc import Mapping
from typing import Any

from ..domain.users import User
from ..ports.database import Queries


def user_of(row: Mapping[str, Any]) -> User:
    """The user in a row of any query here that has one."""
    return User(row["id"], row["email"], row["name"], bool(row["guest"]), row["created_at"])


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
    )


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


async def extend_session(q: Queries, session_id: str, expires_at: int) -> None:
    await q.run("session.extend", id=session_id, expires_at=expires_at)


async def insert_refresh(q: Queries, token_hash: str, session_id: str, created_at: int) -> None:
    await q.run("refresh.insert", hash=token_hash, session_id=session_id, created_at=created_at)


async def lock_refresh(q: Queries, token_hash: str) -> dict[str, Any] | None:
    """``session_id, spent_at``, the session's ``expires_at, revoked_at``, and the user's columns for ``user_of``."""
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
