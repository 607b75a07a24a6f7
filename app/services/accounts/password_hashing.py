"""Password hashes: argon2id with OWASP's minimum (19 MiB, two passes, one lane), in threads of their own.

Client addresses take turns, so that one of them cannot keep the others waiting. What is cancelled before its turn is not
hashed.
"""

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from ...domain.errors import PollroomError
from ...utils.connection_table import client_key

# One hash takes about 20 ms of a core: a full queue is some seconds, less than clients wait for an answer.
MAX_WAITING: Final = 256

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class PasswordHashing:
    """``hash`` and ``verify`` raise ``RATE_LIMITED`` where ``max_waiting`` others are not done.

    Whoever waits from the address with most of them has to go first. ``client``: the address of who asks, none if there is
    none. ``hashed`` counts hashes, ``waiting`` who is not done.
    """

    def __init__(self, threads: int | None = None, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._size = threads or min(os.cpu_count() or 1, 8)
        self._threads = ThreadPoolExecutor(self._size, "passwords")
        self._max_waiting = max_waiting
        self._running = 0
        # Client -> its jobs, the oldest first; whose turn is next stands first.
        self._queues: dict[str, deque[_Job]] = {}
        self._queued = 0
        self.hashed = 0
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(16))

    @property
    def waiting(self) -> int:
        return self._queued + self._running

    async def hash(self, password: str, client: str | None = None) -> str:
        hashed: str = await self._run(lambda: self._hasher.hash(password), client)
        return hashed

    async def verify(self, known: str | None, password: str, client: str | None = None) -> bool:
        """Whether ``password`` belongs to the hash ``known``. Without one it is false, and takes as long."""
        right = await self._run(lambda: self._matches(known or self._nobodys, password), client)
        return bool(right) and known is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Any], client: str | None) -> Any:
        key = client_key(client or "")
        if self.waiting >= self._max_waiting:
            self._make_room(key)
        loop = asyncio.get_running_loop()
        job: _Job = (work, loop.create_future())
        self._queues.setdefault(key, deque()).append(job)
        self._queued += 1
        self._start(loop)
        try:
            return await job[1]
        except asyncio.CancelledError:
            self._withdraw(key, job)
            raise

    def _make_room(self, key: str) -> None:
        """Refuse the newest job of the client with most of them; the new one where that is its own client."""
        refused = PollroomError("RATE_LIMITED", retry_after=2.0)
        largest = max(self._queues, key=lambda one: len(self._queues[one]), default=key)
        own = len(self._queues.get(key, ()))
        if len(self._queues.get(largest, ())) <= own + 1:
            raise refused
        _, future = job = self._queues[largest][-1]
        self._withdraw(largest, job)
        if not future.done():
            future.set_exception(refused)

    def _withdraw(self, key: str, job: _Job) -> None:
        queue = self._queues.get(key)
        if queue is not None and job in queue:
            queue.remove(job)
            self._queued -= 1
            if not queue:
                del self._queues[key]

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._running < self._size and self._queues:
            key = next(iter(self._queues))
            queue = self._queues.pop(key)
            work, future = queue.popleft()
            self._queued -= 1
            if queue:
                self._queues[key] = queue  # behind the others
            if future.done():
                continue
            self._running += 1
            self.hashed += 1
            running = self._threads.submit(work)
            running.add_done_callback(
                lambda done, future=future: loop.call_soon_threadsafe(self._finished, future, done)  # type: ignore[misc]
            )

    def _finished(self, future: "asyncio.Future[Any]", done: "Future[Any]") -> None:
        self._running -= 1
        if not future.done():
            error = done.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())
        self._start(future.get_loop())
