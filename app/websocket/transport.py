"""The transport as the WebSocket library sees it: it reports every write, close and abort.

Frames written directly to the file descriptor must never come between bytes that the transport still holds. A write after
the end of the connection is dropped; the event loop raises RuntimeError for it.
"""

from asyncio.transports import Transport
from collections.abc import Callable
from typing import Any


def _nothing() -> None:
    pass


class NotedTransport(Transport):
    """``note`` is called before each write, close and abort."""

    __slots__ = ("_note", "_transport")

    def __init__(self, transport: Transport, note: Callable[[], None]) -> None:
        self._transport = transport
        self._note = note

    def forget(self) -> None:
        """Stop reporting."""
        self._note = _nothing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._note()
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._note()
        self._transport.close()

    def abort(self) -> None:
        self._note()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
