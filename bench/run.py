"""One run: its stack, its size, its rounds."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from bench.report import Results
from bench.stack import Poll, Stack

Number = TypeVar("Number", int, float)


@dataclass
class Bench:
    """``quick``: as small as it can be, to see that it runs. ``peers``: the other servers are measured, too."""

    stack: Stack
    folder: Path
    quick: bool
    peers: bool
    rounds: int
    results: Results = field(default_factory=Results)
    _polls: list[Poll] = field(default_factory=list)

    def size(self, full: Number, quick: Number) -> Number:
        return quick if self.quick else full

    def polls(self) -> list[Poll]:
        """The 4,000 polls that rows with people of their own share."""
        if not self._polls:
            self._polls = self.stack.polls(self.size(4000, 30))
        return self._polls

    def path(self, name: str) -> Path:
        return Path(mkdtemp(dir=self.folder)) / name

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)
