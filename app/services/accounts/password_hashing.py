"""Password hashes: argon2id with OWASP's minimum (19 MiB, two passes, one lane), in threads of their own."""

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from ...domain.errors import PollroomError

T = TypeVar("T")

# One hash takes about 20 ms of a core: a full queue is some seconds, less than clients wait for an answer.
MAX_WAITING: Final = 256


class PasswordHashing:
    """``hash`` and ``verify`` raise ``RATE_LIMITED`` at once where ``max_waiting`` others are not done."""

    def __init__(self, threads: int | None = None, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._threads = ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 8), "passwords")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether ``password`` belongs to the hash ``known``. Without one it is false, and takes as long."""
        right = await self._run(lambda: self._matches(known or self._nobodys, password))
        return right and known is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise PollroomError("RATE_LIMITED", retry_after=2.0)
        self._waiting += 1
        future = self._threads.submit(work)
        # Counted until the thread is done with it: a client that went away leaves its work in the queue.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._waiting -= 1
