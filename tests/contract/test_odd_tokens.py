"""Tokens with a valid signature and odd claims: 401 on every transport, and no harm to anybody else."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from tools.harness.http import Api, problem
from tools.harness.process import Server, serving
from tools.harness.websocket import bare_socket, socket

pytestmark = pytest.mark.anyio

SECRET = "a secret that this module alone signs with"
ODD: dict[str, dict[str, Any]] = {
    "sub-lone-surrogate": {"sub": "\ud800"},
    "sub-empty": {"sub": ""},
    "sub-too-long": {"sub": "x" * 27},
    "sid-lone-surrogate": {"sid": "\udfff"},
    "name-lone-surrogate": {"name": "Ann \ud83d"},
    "email-lone-surrogate": {"email": "\ud800@example.org"},
    "exp-1e29": {"exp": 10**29},
    "exp-1e29-float": {"exp": 1e29},
    "exp-400-digits": {"exp": 10**400},
    "exp-negative": {"exp": -(10**29)},
    "exp-true": {"exp": True},
    "created-1e29": {"created": 10**29},
    "created-negative": {"created": -(10**29)},
    "created-true": {"created": True},
    "iat-object": {"iat": {}},
    "jti-list": {"jti": []},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tokens"), {"JWT_SECRET": SECRET}) as running:
        yield running


def signed(**claims: Any) -> str:
    now = time.time()
    valid = {
        "type": "access",
        "sub": "01ANN",
        "sid": "01SESSION",
        "name": "Ann",
        "email": None,
        "guest": False,
        "created": 1,
        "iat": now,
        "exp": now + 600,
        "jti": "1",
    }
    return jwt.PyJWT().encode(valid | claims, SECRET, algorithm="HS256")


def _signed_raw(claims: dict[str, Any]) -> str:
    """PyJWT refuses to sign some claims that it would verify."""
    whole = jwt.decode(signed(), options={"verify_signature": False}) | claims
    return jwt.api_jws.encode(json.dumps(whole).encode(), SECRET, algorithm="HS256")


def test_a_token_without_odd_claims_is_valid(server: Server) -> None:
    with httpx.Client(base_url=server.url(), trust_env=False) as client:
        answer = client.get("/auth/me", headers={"Authorization": f"Bearer {signed()}"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_claim_is_unauthenticated(api: Api, server: Server, name: str) -> None:
    token = _signed_raw(ODD[name])
    code = "TOKEN_EXPIRED" if name == "exp-negative" else "UNAUTHENTICATED"
    problem(await api.get("/auth/me", token), code)
    async with bare_socket(server) as ws:
        await ws.expect("WELCOME")
        await ws.send({"type": "AUTH", "id": "a1", "token": token})
        assert (await ws.expect("ERROR"))["code"] == code
        assert await ws.closed() == 4401
    async with bare_socket(server, token) as ws:
        assert (await ws.expect("ERROR"))["code"] == code
        assert await ws.closed() == 4401


async def test_a_vote_under_an_odd_token_stops_nobody_elses_votes(api: Api, server: Server) -> None:
    owner, voter = await api.user(), await api.guest()
    poll = await api.poll(owner, guests=True)
    option = poll["options"][0]["id"]
    await api.post(f"/polls/{poll['id']}/votes", {"optionId": option}, _signed_raw({"sub": "\ud800"}))
    async with socket(server, voter) as ws:
        (await ws.vote(poll["id"], [option], id="after")).fresh()
