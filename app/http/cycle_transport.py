"""The transport as one request sees it: an answer to a client that has gone is dropped, and the end is not its decision."""

from asyncio.transports import Transport
from collections.abc import Callable


def _nothing() -> None:
    pass


class CycleTransport:
    """``user_id``: of the last valid token that a request of this connection carried. ``on_close`` ends the connection.
    ``renew`` begins the time anew that an answer may take; a stream calls it."""

    __slots__ = ("_on_close", "_transport", "renew", "user_id")

    def __init__(self, transport: Transport, on_close: Callable[[], None], renew: Callable[[], None]) -> None:
        self._transport = transport
        self._on_close = on_close
        self.renew = renew
        self.user_id: str | None = None

    def forget(self) -> None:
        self._on_close = self.renew = _nothing

    def write(self, data: bytes) -> None:
        # Between the end of a connection and the call of connection_lost a write raises RuntimeError.
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if not self._transport.is_closing():
            self._on_close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
