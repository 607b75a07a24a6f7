"""A refused log-in costs the same whatever it was refused for, so that its time tells nothing."""

from typing import Any

import pytest

from app.adapters.sql.database import SqlDatabase
from app.domain.errors import PollroomError
from app.domain.users import Login, Register
from app.services.accounts.password_hashing import PasswordHashing
from app.services.accounts.sessions import Sessions
from tests.test_auth import auth, database, redis_url

pytestmark = pytest.mark.anyio

__all__ = ["auth", "database", "redis_url"]
EMAIL, PASSWORD = "ann@example.org", "a battery staple"


async def cost(
    auth: Sessions, database: SqlDatabase, monkeypatch: pytest.MonkeyPatch, email: str, password: str
) -> tuple[list[str], int]:
    """The statements and the number of hashes of a log-in that is refused."""
    statements: list[str] = []
    hashes = 0
    with monkeypatch.context() as patched:
        for method in ("one", "all", "run"):
            real = getattr(database, method)

            async def counted(name: str, real: Any = real, **values: Any) -> Any:
                statements.append(name)
                return await real(name, **values)

            patched.setattr(database, method, counted)
        matches = PasswordHashing._matches

        def hashed(hasher: PasswordHashing, known: str, given: str) -> bool:
            nonlocal hashes
            hashes += 1
            return matches(hasher, known, given)

        patched.setattr(PasswordHashing, "_matches", hashed)
        with pytest.raises(PollroomError) as refused:
            await auth.login(Login(email, password))
        assert refused.value.code == "INVALID_CREDENTIALS"
    return statements, hashes


async def test_an_unknown_account_and_a_wrong_password_read_and_hash_alike(
    auth: Sessions, database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await auth.register(Register(EMAIL, PASSWORD))
    wrong = await cost(auth, database, monkeypatch, EMAIL, "another one")
    assert wrong == (["user.login"], 1)
    assert await cost(auth, database, monkeypatch, "nobody@example.org", PASSWORD) == wrong
    assert await cost(auth, database, monkeypatch, "no e-mail", PASSWORD) == wrong
