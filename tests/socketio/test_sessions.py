"""Tokens: in the handshake, renewed, refused, logged out, expired."""

from pathlib import Path

import pytest

from tests.harness.targets import Target
from tests.socketio.client import started
from tests.socketio.conftest import ON, Connect
from tools.harness.http import Api, Person, ok
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids

Transports = tuple[str, ...]


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"token": "none"}, "UNAUTHENTICATED"),
        ({"token": ""}, "UNAUTHENTICATED"),
        ({"token": 5}, "VALIDATION_FAILED"),
        ({"token": None, "name": "x"}, "VALIDATION_FAILED"),
    ],
)
async def test_a_bad_handshake_is_refused_with_its_code(
    library: str, server: Server, transports: Transports, auth: dict[str, object], code: str
) -> None:
    async with started(library, server, transports=transports, auth=auth) as client:
        error = await client.hears("connect_error")
        assert (error["message"], error["data"]["type"], error["data"]["code"]) == (code, "ERROR", code)
        assert not [news for news in client.news if news["news"] == "connect"]


@pytest.mark.parametrize("auth", [None, {}, {"token": None}])
async def test_nobody_may_watch_and_not_vote(
    library: str, server: Server, api: Api, owner: Person, auth: dict[str, object] | None
) -> None:
    poll = await api.poll(owner, guests=True)
    options = {} if auth is None else {"auth": auth}
    async with started(library, server, **options) as client:
        await client.hears("connect")
        await client.join(poll)
        (await client.vote(poll["id"], option_ids(poll)[:1])).refused("UNAUTHENTICATED")
        assert (await client.join(poll))["tally"]["voters"] == 0


async def test_logout_tells_why_and_the_client_stays_away(
    sio: Connect, api: Api, owner: Person, transports: Transports
) -> None:
    poll = await api.poll(owner, guests=True)
    person, other = await api.user(), await api.guest()
    async with sio(person, transports=transports) as client, sio(other, transports=transports) as staying:
        await client.join(poll)
        await staying.join(poll)
        ok(await api.post("/auth/logout", None, person), 204)
        assert (await client.event("error"))["code"] == "UNAUTHENTICATED"
        # The client's own word for: the server asked for it, do not come back by yourself.
        await client.hears("disconnect", reason="io server disconnect")
        await staying.event("poll_update", viewers=1)
        mark = client.mark()
        await client.do("connect")
        assert (await client.hears("connect_error", mark))["data"]["code"] == "UNAUTHENTICATED"
        await client.do("token", token=other.token)
        await client.do("connect")
        await client.hears("connect", mark)


async def test_a_token_that_does_not_hold_ends_the_connection(sio: Connect, api: Api) -> None:
    async with sio(await api.guest()) as client:
        await client.refused("UNAUTHENTICATED", "auth", {"token": "forged", "id": "x"})
        assert (await client.event("error"))["id"] == "x"
        await client.hears("disconnect", reason="io server disconnect")


async def test_expiry_ends_the_connection_unless_renewed(
    library: str, where: Target, tmp_path: Path, transports: Transports
) -> None:
    with serving(tmp_path, where.settings | ON | {"ACCESS_TOKEN_SECONDS": "2"}) as server:
        async with (
            Api(server) as api,
            started(library, server, transports=transports) as client,
            started(library, server, transports=transports) as renewing,
        ):
            # The tokens come once both clients run: a process may take longer to start than they live.
            for each in (client, renewing):
                await each.hears("connect")
            one, other = await api.guests(2)
            for each, who in ((client, one), (renewing, other)):
                await each.do("disconnect")
                await each.do("token", token=who.token)
                await each.do("connect")
            for each in (client, renewing):
                await each.event("authenticated")
            fresh = ok(await api.post("/auth/refresh", {"refreshToken": other.refresh}))["accessToken"]
            renewed = await renewing.ask("auth", {"token": fresh})
            assert renewed["type"] == "AUTHENTICATED"
            assert (await client.event("error"))["code"] == "TOKEN_EXPIRED"
            await client.hears("disconnect", reason="io server disconnect")
            assert (await renewing.event("error"))["code"] == "TOKEN_EXPIRED"
            known = await renewing.event("authenticated")
            assert renewed["expiresAt"] >= known["expiresAt"]
