"""Sorts more records than should be in memory at once."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Final

RUN: Final = 8192
"""Records that are sorted at once: a few milliseconds."""
MEMORY: Final = 32 << 20
"""Bytes kept in memory; beyond that, a temporary file."""
BLOCK: Final = 1 << 14
"""Bytes of each run that are in memory while the runs are merged."""


class ExternalSort:
    """Records are bytes without a line feed in them after the first ``prefix`` bytes. Add all of them, then iterate once."""

    def __init__(self, prefix: int) -> None:
        self._prefix = prefix
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY)  # noqa: SIM115 - closed by close()
        self._run: list[bytes] = []
        self._runs: list[tuple[int, int]] = []
        self._size = 0

    def add(self, records: Iterable[bytes]) -> None:
        self._run += records
        if len(self._run) >= RUN:
            self._write()

    def __iter__(self) -> Iterator[bytes]:
        """In the order of bytes."""
        self._write()
        return heapq.merge(*(self._read(start, end) for start, end in self._runs))

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        if not self._run:
            return
        self._run.sort()
        data = b"\n".join([*self._run, b""])
        self._file.seek(self._size)
        self._file.write(data)
        self._runs.append((self._size, self._size + len(data)))
        self._size += len(data)
        self._run = []

    def _read(self, at: int, end: int) -> Iterator[bytes]:
        rest = b""
        while at < end:
            self._file.seek(at)
            block = rest + self._file.read(min(BLOCK, end - at))
            at = min(at + BLOCK, end)
            start = 0
            while (stop := block.find(b"\n", start + self._prefix)) >= 0:
                yield block[start:stop]
                start = stop + 1
            rest = block[start:]
