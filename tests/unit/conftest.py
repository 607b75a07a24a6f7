"""Tests in this folder start no process: ``scripts/test fast`` runs them in seconds."""

import subprocess
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **_: Any) -> NoReturn:
        pytest.fail(f"a test in tests/unit/ started a process: {args[1:2]}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    # Called by the destructor, which runs although __init__ failed.
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda _: None)
