"""SIGNING_NAME, SIGNING_KEY and PROOF_RATE."""

import base64
from pathlib import Path

import pytest

from app.services.polls.signing import NoteSigner
from tests.contract.test_verifiable import checked, committed, document_of, made, new_id
from tests.harness.targets import Target
from tools.harness.http import Api, ok, problem
from tools.harness.process import serving
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))


async def test_a_new_key_signs_from_then_on_and_the_earlier_one_is_listed(
    where: Target, tmp_path: Path
) -> None:
    if where.name != "embedded":
        pytest.skip("the worker of this target has settings of its own")
    with serving(tmp_path / "server") as server:
        async with Api(server) as api:
            made_once = ok(await api.get("/.well-known/pollroom-key"))
            owner = await api.user()
            first = await made(api, owner)
            await api.close(owner, first)
            await committed(api, first)
            before = await document_of(api, first)
    settings = {"SIGNING_NAME": "hall.example", "SIGNING_KEY": base64.b64encode(KEY).decode()}
    with serving(tmp_path / "server", settings) as server:
        async with Api(server) as api:
            wanted = NoteSigner("hall.example", KEY).verifier_key
            shown = ok(await api.get("/.well-known/pollroom-key"))
            assert shown == {"name": "hall.example", "key": wanted, "older": [made_once["key"]]}
            assert await document_of(api, first) == before
            assert (await checked(server, first, tmp_path)).returncode == 0
            owner = await api.user()
            second = await made(api, owner)
            await api.close(owner, second)
            await committed(api, second)
            assert (await checked(server, second, tmp_path, (), "--key", wanted)).returncode == 0
            refused = await checked(server, first, tmp_path, (), "--key", wanted)
            assert refused.returncode == 1 and "none of the keys has signed" in refused.stdout
    with serving(tmp_path / "server") as server:
        async with Api(server) as api:
            shown = ok(await api.get("/.well-known/pollroom-key"))
            assert shown == made_once | {"older": [wanted]}


async def test_proofs_have_a_budget_per_client_address(where: Target, tmp_path: Path) -> None:
    settings = where.settings | {"PROOF_RATE": "10/h:3", "TRUSTED_PROXIES": "127.0.0.0/8, ::1"}
    with serving(tmp_path / "server", settings, where.instances) as server:
        async with Api(server) as api:
            owner, guest = await api.user(), await api.guest()
            poll = await made(api, owner)
            (await api.vote(guest, poll["id"], option_ids(poll)[:1], id=new_id())).fresh()
            await api.close(owner, poll)
            await committed(api, poll)
            path, of = f"/polls/{poll['id']}/proof?leaf={'0' * 64}", {"X-Forwarded-For": "203.0.113.7"}
            for _ in range(3):
                problem(await api.get(path, headers=of), "NOT_FOUND")
            refused = problem(await api.get(path, headers=of), "RATE_LIMITED")
            assert 0 < refused["retryAfter"] <= 360
            problem(await api.get(path, headers={"X-Forwarded-For": "203.0.113.8"}), "NOT_FOUND")
            problem(await api.get(f"/polls/{poll['id']}/proof", headers=of), "VALIDATION_FAILED", "leaf")
            ok(await api.get(f"/polls/{poll['id']}/commitment", headers=of))
