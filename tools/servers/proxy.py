"""What nginx and Caddy share: wait until the proxy leads to a server, and end it."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0


@contextmanager
def answering(process: "subprocess.Popen[bytes]", url: str) -> Iterator[str]:
    """``url``, once the server behind the proxy answers there. The process ends with the context."""
    try:
        _wait(url)
        yield url
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait(url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/healthz", timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
        time.sleep(0.05)
