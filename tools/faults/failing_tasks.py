"""``python -m tools.faults.failing_tasks COMMAND``: the app, with an exception raised inside a task per ``SIGUSR1``.

Each signal takes the next long-lived task: ``TASK NAME`` goes to stdout, ``BUSY`` if the next one does not wait at the
moment, and ``END`` once every task had its turn. The exception comes out of what the task awaits, so that it passes through
the code that waits there.
"""

import asyncio
import inspect
import signal
import sys
from typing import Any

from app.__main__ import cli
from app.utils.supervisor import Supervisor

SPARED = "redis-server"
"""Waits for a child process: its future is the event loop's own, and is needed again at the end."""


PARENTS = {"Broadcaster": "feeds", "DeckFeeds": "decks"}
"""Class -> its supervised task, which runs others."""


class Injected(Exception):
    pass


def _innermost(task: "asyncio.Task[object]") -> str:
    """The name of the function in which a task waits."""
    coroutine: Any = task.get_coro()
    while inspect.iscoroutine(coroutine.cr_await):
        coroutine = coroutine.cr_await
    return str(coroutine.cr_code.co_name)


def _fail(task: "asyncio.Task[object]") -> bool:
    """False for a task that does not wait, or waits for other tasks."""
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None or waiter.done() or isinstance(waiter, asyncio.Task) or _innermost(task) == "__aexit__":
        return False
    waiter.set_exception(Injected(task.get_name()))
    return True


class _Faults:
    """``names``: of the tasks that the app supervises."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._failed: set[str] = set()

    def next(self) -> None:
        waiting = {name: task for task in asyncio.all_tasks() if (name := self._name(task)) is not None}
        left = sorted(waiting.keys() - self._failed)
        for name in left:
            if _fail(waiting[name]):
                self._failed.add(name)
                print(f"TASK {name}", flush=True)
                return
        print("BUSY" if left else "END", flush=True)

    def _name(self, task: "asyncio.Task[object]") -> str | None:
        if task.get_name() in self.names:
            # These tasks only wait for their children.
            return None if task.get_name() in PARENTS.values() else task.get_name()
        coroutine: Any = task.get_coro()
        act = coroutine.cr_frame.f_locals.get("act") if coroutine.cr_frame else None
        owner, _, function = getattr(act, "__qualname__", coroutine.__qualname__).rpartition(".")
        return f"{PARENTS[owner]}: {function}" if owner in PARENTS else None


def main() -> None:
    faults = _Faults()
    original = Supervisor.running

    def running(self: Supervisor, name: str, work):  # type: ignore[no-untyped-def]
        if not faults.names:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, faults.next)
        if name != SPARED:
            faults.names.add(name)
        return original(self, name, work)

    Supervisor.running = running  # type: ignore[method-assign]
    cli(sys.argv[1:], prog_name="python -m app")


if __name__ == "__main__":
    main()
