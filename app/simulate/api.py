"""The HTTP side of a run: accounts, polls, results. One persistent connection per thread and instance."""

import asyncio
import http.client
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

THREADS: Final = 16
ANSWER_SECONDS: Final = 15.0
NOT_KNOWN: Final = frozenset({"UNAVAILABLE", "INTERNAL", "RATE_LIMITED"})
"""Codes after which the same request is sent again."""
SHORTEST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 5.0


class Refused(Exception):
    """An answer that sending again does not change, or none in time. ``str()`` is a sentence for the operator."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class Api:
    """``patience``: seconds for which a server that does not answer is retried."""

    def __init__(self, instances: tuple[str, ...], patience: float, warn: Callable[[str], None]) -> None:
        """``warn`` gets a sentence when a server does not answer, once per server until it answers again."""
        self._instances = instances
        self._patience = patience
        self._warn = warn
        self._silent: set[str] = set()
        self._turn = count()
        self._kept = threading.local()
        self._threads = ThreadPoolExecutor(THREADS, "simulate-http")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        key: str | None = None,
        base: str | None = None,
    ) -> Any:
        """The JSON of a success. ``base``: an instance; unless given, each in turn. Raises ``Refused``."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        content = None if body is None else msgspec.json.encode(body)
        until = time.monotonic() + self._patience
        delay = SHORTEST_DELAY
        while True:
            url = base or self._instances[next(self._turn) % len(self._instances)]
            wait = random.uniform(0, delay)
            try:
                status, answer = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._send, url, method, path, content, headers
                )
            except (OSError, http.client.HTTPException) as error:
                problem, code = f"{url} does not answer ({str(error) or type(error).__name__})", ""
                if url not in self._silent:
                    self._silent.add(url)
                    self._warn(f"{problem}; trying for {until - time.monotonic():.0f} s")
            else:
                self._silent.discard(url)
                if status < 400:
                    return answer
                code = answer.get("code", "") if isinstance(answer, dict) else ""
                problem = f"{url} answered {method} {path} with {status} {code}"
                if code not in NOT_KNOWN:
                    raise Refused(problem, code)
                wait += answer.get("retryAfter", 0)
            if time.monotonic() + wait > until:
                raise Refused(problem, code)
            await asyncio.sleep(wait)
            delay = min(2 * delay, LONGEST_DELAY)

    def _send(
        self, url: str, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        kept: dict[str, http.client.HTTPConnection] = self._kept.__dict__
        old = kept.pop(url, None)
        connection = old or _connection(url)
        try:
            connection.request(method, urlsplit(url).path + path, content, headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException as error:
            connection.close()
            # A kept connection may have ended with an earlier server process: that says nothing of this one.
            if old is not None and isinstance(error, (ConnectionError, http.client.HTTPException)):
                return self._send(url, method, path, content, headers)
            raise
        kept[url] = connection
        try:
            return response.status, msgspec.json.decode(data) if data else None
        except msgspec.DecodeError:
            return response.status, None


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
