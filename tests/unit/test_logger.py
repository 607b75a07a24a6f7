"""What is logged never ends the task that logs."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from app.utils import logger

FULL = Path("/dev/full")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """Standard error that takes nothing, as on a full disk."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = FULL.open("w", buffering=1)
    monkeypatch.setattr("sys.stderr", stream)
    yield stream
    structlog.reset_defaults()
    with suppress(OSError):
        stream.close()


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
def test_a_log_that_cannot_be_written_is_dropped(full: TextIO) -> None:
    logger.configure("info")
    for _ in range(3):
        logger.get("tests").error("dropped")
        logging.getLogger("a library").error("dropped")
    with pytest.raises(OSError, match="No space"):
        full.write("not dropped\n")
