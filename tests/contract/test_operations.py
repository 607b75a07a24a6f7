"""Readiness, and settings that fail at the start."""

from pathlib import Path
from typing import Any

import pytest

from tools.harness.http import Api, ok
from tools.harness.process import run
from tools.servers import free_port

pytestmark = pytest.mark.anyio


async def test_healthz_says_ok(api: Api) -> None:
    assert ok(await api.get("/healthz")) == {"status": "ok"}


async def test_readyz_says_what_is_ready_and_what_an_acknowledgement_means(api: Api) -> None:
    body = ok(await api.get("/readyz"))
    assert set(body) == {"status", "acknowledged", "checks"}
    assert body["status"] in ("ready", "degraded")
    assert len(body["acknowledged"].split()) > 3
    assert body["checks"]
    for check in body["checks"].values():
        assert set(check) == {"status", "detail"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("TICK_MS", "0"),
        ("MESSAGE_RATE", "-1"),
        ("LOG_LEVEL", "loud"),
        ("ACCESS_TOKEN_SECONDS", "x"),
        ("DATABASE_URL", "postgres://x"),
        ("ALLOWED_ORIGINS", "vote.example"),
    ],
)
def test_a_wrong_setting_fails_at_the_start_with_its_name(tmp_path: Path, name: str, value: str) -> None:
    settings: dict[str, Any] = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port())}
    done = run(["serve"], settings | {name: value})
    assert done.returncode != 0
    assert name in done.stdout
    assert "Traceback" not in done.stdout


def test_a_database_of_ones_own_needs_a_secret_of_32_bytes(tmp_path: Path) -> None:
    settings = {
        "DATA_DIR": str(tmp_path / "data"),
        "PORT": str(free_port()),
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/x.db",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    for secret in ({}, {"JWT_SECRET": "x" * 31}):
        done = run(["serve"], settings | secret)
        assert done.returncode != 0
        assert "JWT_SECRET" in done.stdout


@pytest.mark.parametrize("command", [[], ["serve"], ["worker"], ["migrate"], ["recount"]], ids=str)
def test_every_command_has_help(command: list[str]) -> None:
    done = run([*command, "--help"], {})
    assert done.returncode == 0
    assert "Usage" in done.stdout or "usage" in done.stdout
