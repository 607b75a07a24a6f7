"""One WebSocket connection of a voter: bytes on one side, messages of the contract on the other."""

import asyncio
import time
from typing import Any, Final, Protocol, cast

import msgspec
from msgspec import Struct
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

SUBPROTOCOL: Final = Subprotocol("pollroom.v1")
LARGEST_MESSAGE: Final = 1 << 20
LOST: Final = 1006
_REFUSED: Final = 4000
"""Added to the status of a refused upgrade to make a close code of it: 403 -> 4403, 503 -> 4503."""


class Tally(Struct):
    epoch: int
    seq: int
    voters: int
    counts: dict[str, int] | None = None

    @property
    def order(self) -> tuple[int, int]:
        return (self.epoch, self.seq)


class Reconnect(Struct, rename="camel"):
    min_delay: float
    max_delay: float


class Shown(Struct, rename="camel"):
    """A poll or deck in a message."""

    id: str
    version: int = 0


class Message(Struct, rename="camel"):
    """Whatever the server sends, as far as a voter reads it; more fields than these may come."""

    type: str
    id: str | None = None
    code: str | None = None
    seq: int | None = None
    repeated: bool = False
    tally: Tally | None = None
    poll: Shown | None = None
    poll_id: str | None = None
    deck: Shown | None = None
    retry_after: float = 0.0
    ping_interval: float = 20.0
    reconnect: Reconnect | None = None


_decode: Final = msgspec.json.Decoder(Message).decode


class Listener(Protocol):
    def received(self, message: Message, at: float) -> None: ...

    def lost(self, link: "Link", code: int) -> None:
        """``code``: the server's close code, 1006 without one."""


class Link(asyncio.Protocol):
    """``heard``: when bytes came last (``time.monotonic``); ``silence``: seconds without any that mean a dead peer."""

    def __init__(self, uri: WebSocketURI, listener: Listener) -> None:
        self._connection = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], max_size=LARGEST_MESSAGE)
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._status = 0
        self._given_up = False
        self.heard = time.monotonic()
        self.silence = 15.0

    @property
    def _open(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._connection.state is State.OPEN

    def send(self, message: dict[str, Any]) -> None:
        """Nothing once the connection is closing: the listener hears of its end."""
        if self._open:
            self._connection.send_text(msgspec.json.encode(message))
            self._flush()

    def close(self) -> None:
        if self._open:
            self._connection.send_close(1000)
            self._flush()
            self._end()
        else:
            self.abort()

    def abort(self) -> None:
        self._given_up = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._given_up:
            self._transport.abort()
            return
        self._connection.send_request(self._connection.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        at = self.heard = time.monotonic()
        self._connection.receive_data(data)
        for event in self._connection.events_received():
            if isinstance(event, Response):
                self._status = event.status_code
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                try:
                    message = _decode(event.data)
                except msgspec.DecodeError:
                    self._connection.fail(1002)
                    break
                self._listener.received(message, at)
        self._flush()
        if self._connection.close_rcvd is not None or self._connection.handshake_exc is not None:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        received = self._connection.close_rcvd
        if self._connection.handshake_exc is not None and self._status >= 400:
            code = _REFUSED + self._status
        else:
            code = LOST if received is None else int(received.code)
        self._listener.lost(self, code)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._connection.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the library's mark for "nothing more will be sent"
                self._transport.close()
