"""Python imports this at its start if this folder is on ``PYTHONPATH``: SIGUSR1 begins to note the files of ``app/`` whose
functions are called, SIGUSR2 writes them to the file ``TRACE_FILE``."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

APP = str(Path(__file__).resolve().parents[3] / "app") + "/"
called: set[str] = set()


def note(frame: FrameType, event: str, _: object) -> None:
    if event == "call" and frame.f_code.co_filename.startswith(APP):
        called.add(frame.f_code.co_filename.removeprefix(APP))


def begin(*_: object) -> None:
    called.clear()
    sys.setprofile(note)


def end(*_: object) -> None:
    sys.setprofile(None)
    path = Path(os.environ["TRACE_FILE"])
    path.with_suffix(".new").write_text("\n".join(sorted(called)))
    path.with_suffix(".new").rename(path)


if "serve" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
