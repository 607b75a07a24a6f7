"""MariaDB and Redis that take nothing but TLS, with certificates of the tests' own authority."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.harness.targets import worked_on
from tests.plugin import needing_services
from tests.test_mistakes import SECRET, refused
from tools.harness.http import Api
from tools.harness.process import run, serving
from tools.harness.websocket import socket
from tools.servers import DURABLE, MariaDB, MySQL, RedisServer, path_redis_binary, sql_server
from tools.servers.certificates import Certificates, certificates
from tools.servers.server import running

pytestmark = pytest.mark.anyio

UNTRUSTED = "unable to get local issuer certificate"
ELSEWHERE = "IP address mismatch"


def no_tls(server: MariaDB) -> tuple[str, ...]:
    return ("--tls-version=",) if isinstance(server, MySQL) else ("--skip-ssl",)


def only_tls(shown: Certificates) -> tuple[str, ...]:
    return (
        f"--ssl-cert={shown.certificate}",
        f"--ssl-key={shown.key}",
        "--require-secure-transport=ON",
    )


class TlsRedis(RedisServer):
    def __init__(self, folder: Path, shown: Certificates) -> None:
        tls = {"tls_cert_file": shown.certificate, "tls_key_file": shown.key, "tls_auth_clients": "no"}
        super().__init__(
            folder, path_redis_binary(), DURABLE | {name: str(value) for name, value in tls.items()}
        )

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [*super().command(), "--tls-port", str(self.port), "--port", "0"]

    def ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, ssl_cert_reqs="none", socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


async def voted(folder: Path, settings: dict[str, str]) -> None:
    """A ballot is acknowledged, seen in the room, and stored in SQL."""
    with worked_on(settings, folder / "worker.log"), serving(folder / "server", settings) as server:
        async with Api(server) as api, socket(server) as ws:
            poll = await api.poll(await api.user(), guests=True)
            await ws.join(poll)
            (await api.vote(await api.guest(), poll["id"], [poll["options"][0]["id"]])).fresh()
            await ws.shows(poll, voters=1)
    recounted = run(["recount", "--all"], settings)
    assert recounted.returncode == 0, recounted.stdout


@dataclass(frozen=True)
class Made:
    ours: Certificates
    another: Certificates
    elsewhere: Certificates


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """``elsewhere``: for another address than the server's."""
    names = {"ours": "127.0.0.1", "another": "127.0.0.1", "elsewhere": "192.0.2.1"}
    return Made(**{name: certificates(tmp_path / name, address) for name, address in names.items()})


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {"DATA_DIR": str(tmp_path / "data"), "JWT_SECRET": SECRET}


async def test_votes_go_over_tls_to_the_database_and_to_no_other_certificate(
    tmp_path: Path, settings: dict[str, str], redis_url: str, made: Made
) -> None:
    settings["REDIS_URL"] = redis_url
    with needing_services():
        server = sql_server(tmp_path / "sql", *only_tls(made.ours))
        server.install()

    def wrong(command: str, options: str, cause: str) -> None:
        line = rf"DATABASE_URL: the database cannot be used \(.*{cause}.*\)"
        refused(command, settings | {"DATABASE_URL": f"{server.url}?{options}"}, line)

    with running(server):
        trusting = f"ssl=true&ssl_ca={made.ours.authority}"
        await voted(tmp_path, settings | {"DATABASE_URL": f"{server.url}?{trusting}"})
        wrong("migrate", "ssl=true", UNTRUSTED)
        wrong("serve", f"ssl=true&ssl_ca={made.another.authority}", UNTRUSTED)
        wrong("worker", f"ssl=true&ssl_ca={made.ours.key}", "no certificate or crl found")
        server.stop()
        server.options = only_tls(made.elsewhere)
        server.start()
        wrong("serve", f"ssl=true&ssl_ca={made.elsewhere.authority}", ELSEWHERE)
        server.stop()
        server.options = no_tls(server)
        server.start()
        for command in ("migrate", "serve"):
            wrong(command, trusting, "the server has no TLS, which ssl=true demands")


async def test_votes_go_over_tls_to_redis_and_to_no_other_certificate(
    tmp_path: Path, settings: dict[str, str], made: Made
) -> None:
    settings["DATABASE_URL"] = f"sqlite+aiosqlite:///{tmp_path}/x.db"
    with needing_services():
        server, other = TlsRedis(tmp_path / "redis", made.ours), TlsRedis(tmp_path / "other", made.elsewhere)

    def wrong(command: str, url: str, cause: str) -> None:
        refused(command, settings | {"REDIS_URL": url}, rf"REDIS_URL: Redis cannot be used \(.*{cause}.*\)")

    with running(server), running(other):
        await voted(tmp_path, settings | {"REDIS_URL": f"{server.url}?ssl_ca_certs={made.ours.authority}"})
        wrong("serve", server.url, UNTRUSTED)
        wrong("worker", f"{server.url}?ssl_ca_certs={made.another.authority}", UNTRUSTED)
        wrong("serve", f"{other.url}?ssl_ca_certs={made.elsewhere.authority}", ELSEWHERE)
