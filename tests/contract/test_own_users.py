"""Users of an app's own issuer: by key set and by public key, on every transport."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import ROOT, Server, run, serving
from tools.harness.shapes import option_ids
from tools.harness.websocket import bare_socket, socket

pytestmark = pytest.mark.anyio

ISSUER = "https://login.example"
AUDIENCE = "pollroom"
PAGE = (ROOT / "docs" / "own-users.md").read_text()


class Issuer:
    """Publishes keys; ``fetches`` counts how often they were asked for, ``away`` refuses."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Any]] = {
            "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }
        self.fetches = 0
        self.away = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                body = b"" if issuer.away else json.dumps(issuer.document()).encode()
                self.send_response(503 if issuer.away else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/jwks.json"

    def document(self) -> Any:
        listed = [{"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}, {"kty": "odd"}, "odd"]
        for kid, (algorithm, key) in self.keys.items():
            public = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
            listed.append(public | {"kid": kid, "use": "sig"})
        return {"keys": listed}

    def token(self, kid: str = "ed", **claims: Any) -> str:
        algorithm, key = self.keys[kid]
        return jwt.encode(claims_of(**claims), key, algorithm, headers={"kid": kid})

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def claims_of(**changes: Any) -> dict[str, Any]:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-42", "name": "Ada", "exp": time.time() + 600}
    return {name: value for name, value in (claims | changes).items() if value is not None}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(where: Target, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = where.settings | {
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "AUTH_JWKS_URL": issuer.url,
    }
    with serving(tmp_path_factory.mktemp("own"), settings, where.instances) as server:
        yield server


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_tokens_of_each_type_of_key_are_taken(api: Api, issuer: Issuer, kid: str) -> None:
    user = ok(await api.get("/auth/me", issuer.token(kid)))["user"]
    assert (user["email"], user["name"], user["guest"]) == (None, "Ada", False)
    assert re.fullmatch(r"[A-Za-z0-9_-]{26}", user["id"])
    again = ok(await api.get("/auth/me", issuer.token(kid, name="Another")))["user"]
    assert (again["id"], again["name"]) == (user["id"], "Another")
    other = ok(await api.get("/auth/me", issuer.token(kid, sub="user-43")))["user"]
    assert other["id"] != user["id"]


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\0b", 5, ["Ada"], {"a": 1}])
async def test_a_bad_name_is_dropped(api: Api, issuer: Issuer, name: Any) -> None:
    assert ok(await api.get("/auth/me", issuer.token(name=name)))["user"]["name"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 5},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e300},
        {"exp": True},
        {"aud": None},
        {"aud": "another"},
        {"aud": 5},
        {"iss": None},
        {"iss": "https://another.example"},
        {"nbf": 4_000_000_000},
        {"nbf": "odd"},
        {"iat": "odd"},
    ],
    ids=str,
)
async def test_odd_claims_are_unauthenticated(api: Api, issuer: Issuer, changes: dict[str, Any]) -> None:
    algorithm, key = issuer.keys["ed"]
    body = json.dumps(claims_of(**changes)).encode()
    token = jwt.PyJWS().encode(body, key, algorithm, headers={"kid": "ed"})
    problem(await api.get("/auth/me", token), "UNAUTHENTICATED")


async def test_shared_secrets_and_other_algorithms_are_never_taken(api: Api, issuer: Issuer) -> None:
    _, key = issuer.keys["rsa"]
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = {"kid": "rsa"}
    tokens = [
        jwt.PyJWS().encode(
            json.dumps(claims_of()).encode(), "secret" * 8, "HS256", headers={"kid": "shared"}
        ),
        jwt.encode(claims_of(), key, "RS512", headers=head),
        jwt.encode(claims_of(), key, "PS256", headers=head),
        jwt.encode(claims_of(), ed25519.Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": "ed"}),
        jwt.encode(claims_of(), None, "none", headers=head),  # type: ignore[arg-type]
    ]
    import base64
    import hashlib
    import hmac as macs

    unsigned = tokens[1].split(".")[1]
    head_text = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').rstrip(b"=").decode()
    mac = macs.digest(public, f"{head_text}.{unsigned}".encode(), hashlib.sha256)
    tokens.append(f"{head_text}.{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    for token in tokens:
        problem(await api.get("/auth/me", token), "UNAUTHENTICATED")


async def test_an_expired_token_is_told(api: Api, issuer: Issuer) -> None:
    problem(await api.get("/auth/me", issuer.token(exp=time.time() - 5)), "TOKEN_EXPIRED")


async def test_own_users_create_polls_and_vote_over_http_and_sockets(
    api: Api, server: Server, issuer: Issuer
) -> None:
    owner, voter = issuer.token(sub="owner"), issuer.token(sub="voter")
    poll = ok(await api.post("/polls", {"question": "Tea?", "options": ["Yes", "No"]}, owner), 201)["poll"]
    options = option_ids(poll)
    (await api.vote(owner, poll["id"], options[:1])).fresh()
    who = Person(voter, "", ok(await api.get("/auth/me", voter))["user"])
    async with socket(server, who) as sock:
        await sock.join(poll)
        await sock.send({"type": "VOTE", "pollId": poll["id"], "optionId": options[1], "id": "mine"})
        assert (await sock.expect("VOTE_ACCEPTED"))["id"] == "mine"
    assert (await api.vote(voter, poll["id"], options[1:], id="mine")).body["repeated"]
    assert (await api.tally(poll))["voters"] == 2
    assert [item["id"] for item in ok(await api.get("/polls", owner))["items"]] == [poll["id"]]


async def test_a_socket_is_told_who_it_is_and_ends_with_its_token(server: Server, issuer: Issuer) -> None:
    async with bare_socket(server) as sock:
        await sock.send({"type": "AUTH", "token": issuer.token(exp=time.time() + 1.5)})
        assert (await sock.expect("AUTHENTICATED"))["user"]["name"] == "Ada"
        assert (await sock.expect("ERROR", timeout=5))["code"] == "TOKEN_EXPIRED"
        assert await sock.closed() == 4401


async def test_what_the_issuer_does_is_forbidden(api: Api, issuer: Issuer) -> None:
    token = issuer.token()
    problem(await api.post("/auth/logout", None, token), "FORBIDDEN")
    body = {"password": "long enough", "newPassword": "even longer than that"}
    problem(await api.post("/auth/password", body, token), "FORBIDDEN")
    problem(await api.post("/auth/refresh", {"refreshToken": token}), "FORBIDDEN")
    guest = await api.guest()
    problem(await api.post("/auth/refresh", {"refreshToken": guest.refresh}, token), "FORBIDDEN")
    ok(await api.get("/auth/me", token))
    assert ok(await api.get("/auth/sessions", token)) == {"items": [], "nextCursor": None}


async def test_an_own_user_is_deleted(api: Api, issuer: Issuer) -> None:
    token = issuer.token(sub="going")
    ok(await api.post("/polls", {"question": "Tea?", "options": ["Yes", "No"]}, token), 201)
    assert len(ok(await api.get("/auth/me/export", token))["polls"]) == 1
    assert (await api.delete("/auth/me", token)).status_code == 204
    if api.server.size == 1:
        problem(await api.get("/auth/me", token), "UNAUTHENTICATED")


async def test_a_new_key_is_fetched_and_an_unknown_one_not_again(
    where: Target, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE, "AUTH_JWKS_URL": issuer.url}
    issuer.keys["new"] = ("EdDSA", ed25519.Ed25519PrivateKey.generate())
    with serving(tmp_path_factory.mktemp("fetch"), settings) as server:
        async with Api(server) as api:
            before = issuer.fetches
            ok(await api.get("/auth/me", issuer.token("new")))
            issuer.keys["newer"] = ("EdDSA", ed25519.Ed25519PrivateKey.generate())
            for _ in range(5):
                problem(await api.get("/auth/me", issuer.token("newer")), "UNAUTHENTICATED")
            assert issuer.fetches == before + 1
            ok(await api.get("/auth/me", issuer.token("rsa", sub="another")))


async def test_an_issuer_that_cannot_be_reached_fails_its_tokens_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    issuer = Issuer()
    issuer.away = True
    settings = {"AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE, "AUTH_JWKS_URL": issuer.url}
    with serving(tmp_path_factory.mktemp("away"), settings) as server:
        async with Api(server) as api:
            problem(await api.get("/auth/me", issuer.token()), "UNAUTHENTICATED")
            ok(await api.get("/auth/me", await api.guest()))
    issuer.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"AUTH_ISSUER": "pollroom", "AUTH_AUDIENCE": "a", "AUTH_JWKS_URL": "http://a/"}, "AUTH_ISSUER"),
        ({"AUTH_ISSUER": ISSUER, "AUTH_JWKS_URL": "http://a/"}, "AUTH_AUDIENCE"),
        ({"AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": "a"}, "AUTH_JWKS_URL"),
        ({"AUTH_PUBLIC_KEY": "rubbish"}, "AUTH_PUBLIC_KEY"),
        ({"AUTH_JWKS_URL": "ftp://a/"}, "AUTH_JWKS_URL"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_start(
    settings: dict[str, str], named: str, tmp_path: Path
) -> None:
    ended = run(["serve"], settings | {"DATA_DIR": str(tmp_path)})
    assert ended.returncode == 1
    assert f"{named} must be" in ended.stdout and "Traceback" not in ended.stdout


@pytest.fixture(scope="module")
def by_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with the public key of a pair made as the page says."""
    folder = tmp_path_factory.mktemp("key")
    key = ed25519.Ed25519PrivateKey.generate()
    (folder / "private.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "public.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    settings = {
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "AUTH_PUBLIC_KEY": str(folder / "public.pem"),
    }
    with serving(folder / "server", settings) as server:
        yield server, folder


@pytest.mark.parametrize(
    ("language", "file", "command"),
    [
        ("js", "token.mjs", ["node", "token.mjs"]),
        ("python", "token_.py", [sys.executable, "token_.py"]),
        ("go", "token.go", ["go", "run", "token.go"]),
    ],
)
async def test_the_examples_of_the_page_sign_tokens_that_are_taken(
    by_key: tuple[Server, Path], language: str, file: str, command: list[str]
) -> None:
    server, folder = by_key
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (folder / file).write_text(code)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    async with Api(server) as api:
        assert ok(await api.get("/auth/me", done.stdout.strip()))["user"]["name"] == "Ada"
