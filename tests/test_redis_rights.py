"""A Redis user with few rights: those of docs/reliability.md suffice, and a missing one is named at start."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.plugin import needing_services
from tools.harness.http import Api
from tools.harness.process import run, serving
from tools.servers import redis_server

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
PASSWORD = "a-password-of-the-tests"


def documented() -> list[str]:
    """The words of the page's ACL rule, behind the user's name and password."""
    rule = PAGE.read_text().partition("ACL SETUSER pollroom on >PASSWORD")[2].partition("```")[0]
    return rule.replace("\\\n", " ").replace('"', "").split()


@contextmanager
def settings_of(folder: Path, rights: list[str]) -> Iterator[dict[str, str]]:
    with needing_services(), redis_server(folder / "redis") as store:
        with redis.from_url(store.url) as admin:
            admin.execute_command("ACL", "SETUSER", "pollroom", "on", f">{PASSWORD}", *rights)
        url = store.url.replace("redis://", f"redis://pollroom:{PASSWORD}@")
        yield {
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/polls.db",
            "REDIS_URL": url,
            "JWT_SECRET": secrets.token_hex(24),
            "DATA_DIR": str(folder / "data"),
        }


async def test_the_documented_rights_suffice(tmp_path: Path) -> None:
    with settings_of(tmp_path, documented()) as settings:
        assert run(["migrate"], settings).returncode == 0
        with serving(tmp_path, settings) as server:
            async with Api(server) as api:
                owner = await api.user()
                poll = await api.poll(owner)
                (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
                assert (await api.close(owner, poll))["tally"]["voters"] == 1
                _, report = server.readiness()
                assert report["status"] == "ready", report
        stopped = run(["recount", "--all"], settings)
        assert stopped.returncode == 0, stopped.stdout


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["-info"], "INFO"),
        (["-xadd"], "XADD"),
        (["-xread"], "XREAD"),
        (["-evalsha"], "EVALSHA"),
        (["-set"], "SET"),
        (["-hset", "-time"], "TIME, HSET"),
        (["resetchannels"], r"channels \{p\*"),
        (["resetkeys", "~other*"], r"keys \{p\*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_missing_right_is_named_at_start(tmp_path: Path, changed: list[str], named: str) -> None:
    with settings_of(tmp_path, [*documented(), *changed]) as settings:
        assert run(["migrate"], settings).returncode == 0
        ended = run(["serve"], settings | {"PORT": "0"})
    assert ended.returncode == 1
    assert re.fullmatch(rf"Error: REDIS_URL: the Redis user lacks rights: .*{named}.*\n", ended.stdout), (
        ended.stdout
    )
    assert PASSWORD not in ended.stdout
