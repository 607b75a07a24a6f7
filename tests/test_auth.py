"""Accounts, sessions and tokens on SQLite and Redis."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.clock import RedisClock
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.pubsub.bus import RedisBus
from app.adapters.sql.database import SqlDatabase
from app.domain.budgets import BudgetName, Rate
from app.domain.errors import PollroomError
from app.domain.users import Guest, Login, Refresh, Register, Session
from app.repositories import users as model
from app.services.accounts.budgets import Budgets
from app.services.accounts.challenges import Challenges
from app.services.accounts.password_hashing import PasswordHashing
from app.services.accounts.sessions import CHANNEL, Sessions
from app.utils.secret_keys import SecretKeys
from tests.plugin import needing_services
from tools.harness.wait import eventually
from tools.servers import redis_server

SECRET = "a secret of these tests, 48 bytes or more: HS384 wants it"
PASSWORD = "correct horse"


def unlimited() -> Budgets:
    names = get_args(BudgetName)
    return Budgets(NoSharedBudgets(), dict.fromkeys(names, Rate(0, 0)), b"")


def no_challenges() -> Challenges:
    return Challenges(SecretKeys(SECRET), unlimited(), 1000, for_every_guest=False)


class NoSharedBudgets:
    async def take(self, key: str, rate: Rate) -> float:
        raise AssertionError("callers without an address have no budget")


@asynccontextmanager
async def instance(
    database: SqlDatabase, redis_url: str, keys: SecretKeys | None = None, **seconds: float
) -> AsyncIterator[Sessions]:
    """One process's ``Sessions``, listening to the others'."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(redis_url, timeout=None))
        clock = RedisClock()
        asked = time.monotonic()
        whole, micro = await client.time()
        clock.heard(whole * 1000 + micro // 1000, asked)
        bus = RedisBus(client, Keys(1))
        hasher = PasswordHashing()
        stack.callback(hasher.close)
        limits = {"access_seconds": 900.0, "grace_seconds": 30.0, "session_seconds": 86_400.0} | seconds
        auth = Sessions(
            database=database,
            bus=bus,
            clock=clock,
            keys=keys or SecretKeys(SECRET),
            hasher=hasher,
            budgets=unlimited(),
            challenges=no_challenges(),
            **limits,
        )
        bus.handle(CHANNEL, auth.on_revoked)
        listening = asyncio.create_task(bus.run())
        stack.push_async_callback(_ended, listening)
        await eventually(lambda: _value(bus.deaf), lambda deaf: not deaf)
        yield auth


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def _value(value: Any) -> Any:
    return value


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server of our own: other tests log out at the same time, and pub/sub channels know no databases."""
    with needing_services(), redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqlDatabase]:
    async with SqlDatabase(f"sqlite+aiosqlite:///{tmp_path}/test.db") as database:
        await database.migrate(1)
        yield database


@pytest.fixture
async def auth(database: SqlDatabase, redis_url: str) -> AsyncIterator[Sessions]:
    async with instance(database, redis_url) as auth:
        yield auth


async def refused(code: str, call: Any) -> PollroomError:
    with pytest.raises(PollroomError) as caught:
        await call
    assert caught.value.code == code
    return caught.value


def refused_token(auth: Sessions, token: str, code: str = "UNAUTHENTICATED") -> None:
    with pytest.raises(PollroomError) as caught:
        auth.authenticate(token)
    assert caught.value.code == code


KEY = SecretKeys(SECRET).derived("access tokens")[0]


def changed(
    session: Session,
    key: str | bytes = KEY,
    algorithm: str = "HS256",
    kid: Any = ...,
    **claims: Any,
) -> str:
    """The session's access token with other claims, signed anew; None leaves a claim or ``kid`` out."""
    old = jwt.decode(session.access_token, options={"verify_signature": False})
    new = {name: value for name, value in (old | claims).items() if value is not None}
    head = {"kid": jwt.get_unverified_header(session.access_token)["kid"] if kid is ... else kid}
    encoder = jwt.PyJWS()
    body = json.dumps(new).encode()
    return encoder.encode(body, key, algorithm, headers=head if head["kid"] is not None else None)


async def test_register_then_login_case_does_not_matter(auth: Sessions) -> None:
    made = await auth.register(Register(" Ada@Example.ORG ", PASSWORD, "  Ada "))
    again = await auth.login(Login("ADA@example.org", PASSWORD))
    assert made.user == again.user
    assert (made.user.email, made.user.name, made.user.guest) == ("ada@example.org", "Ada", False)
    identity = auth.authenticate(again.access_token)
    assert identity.user.id == made.user.id
    assert identity.session_id != auth.authenticate(made.access_token).session_id


async def test_a_taken_email_is_refused_and_leaves_nothing_behind(
    auth: Sessions, database: SqlDatabase
) -> None:
    first = await auth.register(Register("ada@example.org", PASSWORD))
    answers = await asyncio.gather(
        *(auth.register(Register("ADA@example.org", PASSWORD)) for _ in range(4)), return_exceptions=True
    )
    assert {getattr(answer, "code", None) for answer in answers} == {"EMAIL_TAKEN"}
    known = await model.find_login(database, "ada@example.org")
    assert known is not None
    assert known[0].id == first.user.id


async def test_unknown_user_and_wrong_password_are_told_alike(auth: Sessions) -> None:
    await auth.register(Register("ada@example.org", PASSWORD))
    bodies = [
        Login("ada@example.org", "wrong"),
        Login("bob@example.org", PASSWORD),
        Login("no e-mail", PASSWORD),
    ]
    told = [await refused("INVALID_CREDENTIALS", auth.login(body)) for body in bodies]
    assert len({error.message for error in told}) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (Register("ada", PASSWORD), "email"),
        (Register("@b", PASSWORD), "email"),
        (Register("ada@", PASSWORD), "email"),
        (Register("a@b@c", PASSWORD), "email"),
        (Register("a b@c", PASSWORD), "email"),
        (Register("a\x07@c", PASSWORD), "email"),
        (Register("a" * 253 + "@b", PASSWORD), "email"),
        (Register("\u0130" * 252 + "@b", PASSWORD), "email"),
        (Register("a@b", "1234567"), "password"),
        (Register("a@b", "x" * 129), "password"),
        (Register("a@b", "x2345678\0"), "password"),
        (Register("a@b", "PassWord1"), "password"),
        (Register("grace@b", "I am GRACE h"), "password"),
        (Register("a@b", PASSWORD, "  "), "name"),
        (Register("a@b", PASSWORD, "n" * 101), "name"),
    ],
)
async def test_bad_accounts_name_the_field(auth: Sessions, body: Register, field: str) -> None:
    error = await refused("VALIDATION_FAILED", auth.register(body))
    assert list(error.fields or ()) == [field]


async def test_lengths_are_counted_in_code_points_and_passwords_are_not_trimmed(auth: Sessions) -> None:
    session = await auth.register(Register("a" * 252 + "@b", "  \U0001f511     ", "\U0001f600" * 100))
    assert session.user.name == "\U0001f600" * 100
    await refused("INVALID_CREDENTIALS", auth.login(Login("a" * 252 + "@b", "\U0001f511")))


async def test_a_guest_has_no_email(auth: Sessions) -> None:
    session = await auth.guest(Guest())
    assert (session.user.email, session.user.name, session.user.guest) == (None, None, True)
    assert auth.authenticate(session.access_token).user.guest
    assert (await auth.refresh(Refresh(session.refresh_token))).user == session.user


async def test_tokens_that_are_not_ours_are_refused(auth: Sessions) -> None:
    session = await auth.guest(Guest())
    token = session.access_token
    head, claims, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 2500).rstrip(b"=").decode()
    stranger = json.loads(base64.urlsafe_b64decode(claims + "=="))
    stranger["sub"] = "somebody-else"
    forged = base64.urlsafe_b64encode(json.dumps(stranger).encode()).rstrip(b"=").decode()
    for bad in (
        "",
        "a",
        "a.b.c",
        "\u00e4.b.c",
        "x" * 5000,
        session.refresh_token,
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        f"{head}.{forged}.{signature}",
        f"{deep}.{claims}.{signature}",
        token[:-4],
        changed(session, key="another key, just as long as the first"),
        changed(session, key=SECRET, algorithm="HS384"),
        changed(session, type="refresh"),
        changed(session, type=None),
        changed(session, sid=None),
        changed(session, exp=None),
        changed(session, exp="tomorrow"),
        changed(session, created="now"),
        changed(session, guest="no"),
        changed(session, iss=None),
        changed(session, iss="another"),
        changed(session, aud=None),
        changed(session, aud=["pollroom"]),
        changed(session, kid="another"),
        changed(session, kid=None),
        changed(session, key=SECRET, kid=None),
        changed(session, key=SECRET, kid=None, iss=None),
        changed(session, key=SECRET, iss=None, aud=None),
    ):
        refused_token(auth, bad)
    assert auth.authenticate(token).user.id == session.user.id


async def test_tokens_of_before_keys_had_names_count(auth: Sessions) -> None:
    session = await auth.guest(Guest())
    old = changed(session, key=SECRET, kid=None, iss=None, aud=None)
    assert auth.authenticate(old).user.id == session.user.id
    refused_token(
        auth, changed(session, key=SECRET, kid=None, iss=None, aud=None, exp=time.time() - 1), "TOKEN_EXPIRED"
    )


async def test_an_expired_token_is_told_as_such_and_iat_is_not_looked_at(auth: Sessions) -> None:
    session = await auth.guest(Guest())
    refused_token(auth, changed(session, exp=time.time() - 1), "TOKEN_EXPIRED")
    auth.authenticate(changed(session, iat=time.time() + 3600))


async def test_access_tokens_end_to_the_millisecond(database: SqlDatabase, redis_url: str) -> None:
    async with instance(database, redis_url, access_seconds=1) as auth:
        asked = time.monotonic()
        session = await auth.guest(Guest())
        issued = time.monotonic()
        auth.authenticate(session.access_token)
        code = await eventually(lambda: _value(code_of(auth, session)), lambda code: code is not None)
        assert code == "TOKEN_EXPIRED"
        refused = time.monotonic()
        assert refused - asked > 0.99 and refused - issued < 2.8
        assert session.expires_in == 1


def code_of(auth: Sessions, session: Session) -> str | None:
    try:
        auth.authenticate(session.access_token)
    except PollroomError as error:
        return error.code
    return None


async def test_refresh_gives_a_new_pair_and_leaves_the_old_access_token(auth: Sessions) -> None:
    first = await auth.guest(Guest())
    second = await auth.refresh(Refresh(first.refresh_token))
    assert second.user == first.user
    assert len({first.refresh_token, second.refresh_token, first.access_token, second.access_token}) == 4
    assert len({auth.authenticate(s.access_token).session_id for s in (first, second)}) == 1


async def test_a_spent_refresh_token_answers_within_its_grace(auth: Sessions) -> None:
    first = await auth.guest(Guest())
    again = await asyncio.gather(*(auth.refresh(Refresh(first.refresh_token)) for _ in range(5)))
    (successor,) = {session.refresh_token for session in again}
    newest = await auth.refresh(Refresh(successor))
    assert (await auth.refresh(Refresh(first.refresh_token))).refresh_token == newest.refresh_token
    await auth.refresh(Refresh(newest.refresh_token))


async def test_a_spent_refresh_token_after_its_grace_revokes_the_session(
    database: SqlDatabase, redis_url: str
) -> None:
    async with instance(database, redis_url, grace_seconds=0) as auth:
        closed: list[str] = []
        auth.on_logout.append(closed.append)
        first = await auth.guest(Guest())
        second = await auth.refresh(Refresh(first.refresh_token))
        spent = time.monotonic()
        await eventually(lambda: _value(time.monotonic()), lambda now: now > spent + 0.005)
        await refused("UNAUTHENTICATED", auth.refresh(Refresh(first.refresh_token)))
        await refused("UNAUTHENTICATED", auth.refresh(Refresh(second.refresh_token)))
        refused_token(auth, second.access_token)
        assert len(closed) == 1


async def test_bad_refresh_tokens_and_ended_sessions(database: SqlDatabase, redis_url: str) -> None:
    async with instance(database, redis_url, session_seconds=0) as auth:
        session = await auth.guest(Guest())
        for token in ("", "x", session.access_token, session.refresh_token):
            await refused("UNAUTHENTICATED", auth.refresh(Refresh(token)))


async def test_a_session_ends_a_while_after_its_log_in_whatever_is_refreshed(
    database: SqlDatabase, redis_url: str
) -> None:
    async with instance(database, redis_url, session_seconds=1.2) as auth:
        newest = await auth.guest(Guest())
        assert newest.expires_in == 1.2

        async def renewed() -> bool:
            nonlocal newest
            try:
                newest = await auth.refresh(Refresh(newest.refresh_token))
            except PollroomError:
                return False
            assert newest.expires_in <= 1.2
            return True

        await eventually(renewed, lambda again: not again, 5)
        assert code_of(auth, newest) == "TOKEN_EXPIRED"


async def test_an_old_key_is_accepted_until_it_is_taken_away(database: SqlDatabase, redis_url: str) -> None:
    other = "another secret of these tests, just as long as that one"
    async with instance(database, redis_url) as before:
        session = await before.guest(Guest())
        spent = await before.refresh(Refresh(session.refresh_token))
    async with instance(database, redis_url, keys=SecretKeys(other, (SECRET,))) as rotated:
        assert rotated.authenticate(session.access_token).user.id == session.user.id
        rotated.authenticate(changed(session, key=SECRET, kid=None, iss=None, aud=None))
        assert (await rotated.refresh(Refresh(session.refresh_token))).refresh_token == spent.refresh_token
        renewed = await rotated.refresh(Refresh(spent.refresh_token))
        refused_token(before, renewed.access_token)
    async with instance(database, redis_url, keys=SecretKeys(other)) as after:
        refused_token(after, session.access_token)
        after.authenticate(renewed.access_token)
        await after.refresh(Refresh(renewed.refresh_token))


async def test_logout_ends_the_session_on_every_instance(
    auth: Sessions, database: SqlDatabase, redis_url: str
) -> None:
    async with instance(database, redis_url) as other:
        closed: list[str] = []
        other.on_logout.append(closed.append)
        session, another = await auth.guest(Guest()), await auth.guest(Guest())
        identity = other.authenticate(session.access_token)
        await auth.logout(identity)
        refused_token(auth, session.access_token)
        await eventually(lambda: _value(list(closed)), lambda sids: sids == [identity.session_id])
        refused_token(other, session.access_token)
        await refused("UNAUTHENTICATED", other.refresh(Refresh(session.refresh_token)))
        other.authenticate(another.access_token)


async def test_an_instance_that_heard_nothing_reads_the_revoked_sessions_from_sql(
    auth: Sessions, database: SqlDatabase, redis_url: str
) -> None:
    session = await auth.guest(Guest())
    identity = auth.authenticate(session.access_token)
    await auth.logout(identity)
    async with instance(database, redis_url) as late:
        closed: list[str] = []
        late.on_logout.append(closed.append)
        late.authenticate(session.access_token)
        await late.refresh_revoked()
        refused_token(late, session.access_token)
        await late.refresh_revoked()
        assert closed == [identity.session_id]


async def test_a_logout_without_redis_still_ends_the_session(database: SqlDatabase, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with instance(database, server.url) as auth:
            session = await auth.guest(Guest())
            identity = auth.authenticate(session.access_token)
            server.kill()
            await auth.logout(identity)
            refused_token(auth, session.access_token)
            assert await model.revoked_since(database, 0) == [identity.session_id]


async def test_addresses_take_turns_at_hashing_and_a_full_queue_refuses_the_largest() -> None:
    hasher = PasswordHashing(threads=1, max_waiting=12)
    done: list[str] = []

    async def one(client: str) -> None:
        await hasher.hash(PASSWORD, client)
        done.append(client)

    try:
        flood = [asyncio.create_task(one("198.51.100.1")) for _ in range(12)]
        await asyncio.sleep(0)
        await asyncio.gather(*(one(f"198.51.100.{number}") for number in (2, 3)))
        answers = await asyncio.gather(*flood, return_exceptions=True)
    finally:
        hasher.close()
    assert [done.index(f"198.51.100.{number}") for number in (2, 3)] < [4, 4]
    assert [answer.code for answer in answers if isinstance(answer, PollroomError)] == ["RATE_LIMITED"] * 2


async def test_what_is_given_up_before_its_turn_is_not_hashed() -> None:
    hasher = PasswordHashing(threads=1)
    try:
        first = asyncio.create_task(hasher.hash(PASSWORD))
        waiting = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await first
        await hasher.hash(PASSWORD)
        assert (hasher.hashed, hasher.waiting) == (2, 0)
    finally:
        hasher.close()


async def test_passwords_that_wait_are_bounded() -> None:
    hasher = PasswordHashing(threads=1, max_waiting=2)
    try:
        answers = await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(4)), return_exceptions=True)
        codes = [answer.code for answer in answers if isinstance(answer, PollroomError)]
        assert codes == ["RATE_LIMITED"] * 2
        hashes = [answer for answer in answers if isinstance(answer, str)]
        assert all(known.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for known in hashes)
        assert await hasher.verify(hashes[0], PASSWORD)
        assert not await hasher.verify(hashes[0], "another one")
        assert not await hasher.verify(None, PASSWORD)
        assert not await hasher.verify("not a hash", PASSWORD)
    finally:
        hasher.close()
