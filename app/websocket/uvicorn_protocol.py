"""uvicorn's WebSocket protocol, with prebuilt frames, caps on buffered bytes, keepalive pings and abort for the rooms.

It is reached through scope extensions only: ``pollroom.abort()`` drops the connection, and ``pollroom.wire()`` passes its
messages to a listener and returns the wire. From then on, uvicorn's queue carries nothing but the end of the connection.
"""

import asyncio
import os
import socket as sockets
from asyncio.transports import BaseTransport
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request

from ..domain.close_codes import CloseCode
from ..domain.users import Identity
from ..utils.connection_table import ConnectionTable, Peer
from .frame_parser import BINARY, PING, PONG, TEXT, BadFrame, Frames
from .transport import NotedTransport

KERNEL_BUFFER = 32 * 1024
KERNEL_UNSENT = 16 * 1024
HIGH_WATER = 16 * 1024
LOW_WATER = 4 * 1024
"""Bytes in the kernel and in the transport. With the defaults the kernel alone took 4.1 MB from a peer that never reads."""

GOODBYE_SECONDS = 2.0

HANDSHAKE_FIELDS: Final = (b"sec-websocket-key", b"sec-websocket-version")
MAX_FIELD_BYTES: Final = 128
MAX_REPEATED: Final = 2
"""``websockets`` answers nothing at all to a head beyond its own limits: it is handed these fields, cut."""


class Listener(Protocol):
    """``direct``: the file descriptor, while frames may be written to it past the transport; else -1.

    ``identity``: the known user, if any.
    """

    direct: int

    @property
    def identity(self) -> Identity | None: ...

    def on_message(self, data: bytes) -> None: ...

    def drain(self) -> None: ...


class PollroomProtocol(WebSocketsSansIOProtocol):
    """The wire of one connection, once a listener is set."""

    listener: Listener | None = None
    ready = True
    address = ""
    last_active = 0.0
    _attached = False
    _fd = -1
    _table: ConnectionTable | None = None
    _head: Mapping[str, Any] | None = None

    @property
    def user_id(self) -> str | None:
        identity = self.listener.identity if self.listener is not None else None
        return identity.user.id if identity is not None else None

    def connection_made(self, transport: BaseTransport) -> None:
        self._out: list[bytes] = []
        super().connection_made(transport)
        self._bare = self.transport
        self.transport = self._noted = NotedTransport(self._bare, self.indirect)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != sockets.AF_UNIX:
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, KERNEL_BUFFER)
            if hasattr(sockets, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, KERNEL_UNSENT)
        if sock is not None and self.scheme == "ws":
            self._fd = sock.fileno()
        self.transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    def begin(self, table: ConnectionTable, before: Peer, head: Mapping[str, Any]) -> None:
        """Start the handshake of a connection that ``before`` has served until now.

        ``head``: ``path``, ``raw_path``, ``query_string`` and ``headers`` as in an ASGI scope, already within their limits.
        """
        self._table = table
        self._head = head
        self.address = before.address
        self.last_active = self.loop.time()
        table.replace(before, self)
        lines = [b"GET / HTTP/1.1", b"upgrade: websocket", b"connection: upgrade"]
        for name in HANDSHAKE_FIELDS:
            values = [value for field, value in head["headers"] if field == name]
            lines += [name + b": " + value[:MAX_FIELD_BYTES] for value in values[:MAX_REPEATED]]
        super().data_received(b"\r\n".join([*lines, b"", b""]))

    def drop(self) -> None:
        if self._attached and not self.close_sent:
            self.write_now(
                Frame(Opcode.CLOSE, Close(CloseCode.OVERLOADED, "").serialize()).serialize(mask=False)
            )
        self.transport.abort()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            if self._head is not None:
                self.scope.update(self._head)  # type: ignore[typeddict-item]
                self.scope["subprotocols"] = _subprotocols(self._head["headers"])
                self._head = None
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions["pollroom.wire"] = self._attach
            extensions["pollroom.abort"] = self.transport.abort

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = (
                True  # else the library logs an error after the answer to a refused upgrade
            )

    def _attach(self) -> "PollroomProtocol":
        self._frames = Frames(self.config.ws_max_size)
        self._attached = True
        return self

    def connection_lost(self, exc: Exception | None) -> None:
        self.indirect()  # the event loop closes the file descriptor only after this call
        super().connection_lost(exc)
        if self._table is not None:
            self._table.remove(self)
        # What refers to this object, as it does to them: else only the garbage collector would free it, hours later.
        self._noted.forget()
        self.conn.parser.close()
        self.listener = None

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.scope["extensions"].clear()

    def indirect(self) -> None:
        """No frame goes past the transport any more, until it is found empty and open again."""
        if self.listener is not None:
            self.listener.direct = -1

    def write(self, frame: bytes) -> None:
        """Answers of one turn of the event loop go out together: a system call each would be a third of a vote's cost."""
        if not self._out:
            self.loop.call_soon(self._flush)
            self.indirect()
        self._out.append(frame)

    def _flush(self) -> None:
        if self._out:
            data, self._out = b"".join(self._out), []
            if not self.close_sent and not self._bare.is_closing():
                self._bare.write(data)

    def write_now(self, frame: bytes) -> None:
        transport = self._bare
        if self.close_sent or transport.is_closing():
            return  # its file descriptor may be another connection's by now
        if self._out:
            self._out.append(frame)
            return
        if self._fd >= 0 and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the transport hears of it, too
            if sent == len(frame):
                if self.listener is not None:
                    self.listener.direct = self._fd
                return
            frame = frame[sent:]
        self.transport.write(frame)

    def close(self, code: int) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self._flush()
        self.conn.send_close(code)
        self._say_goodbye(code)

    def pause_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.ready = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self.ready = True
        if self.listener is not None:
            self.listener.drain()

    def data_received(self, data: bytes) -> None:
        self.last_active = self.loop.time()
        # After a bad frame the rest is read and dropped: closing with unread bytes would reset the connection, and the
        # peer would never see why.
        if self.conn.eof_sent:
            return
        if not self._attached:
            super().data_received(data)
            return
        try:
            for opcode, payload in self._frames.read(data):
                if opcode == TEXT:
                    self._hand_on(payload)
                elif opcode == PING:
                    self._pong(payload)
                elif opcode == PONG:
                    self.handle_pong(Frame(Opcode.PONG, payload))
                elif opcode == BINARY:
                    self.close(CloseCode.UNSUPPORTED_DATA)
                else:
                    super().data_received(Frame(Opcode.CLOSE, payload).serialize(mask=True))
                    return
        except BadFrame as bad:
            self._flush()
            self.conn.fail(bad.code)
            if not self.close_sent:
                self._say_goodbye(bad.code)

    def handle_parser_exception(self) -> None:
        assert self.conn.close_sent is not None
        self._flush()
        self._say_goodbye(self.conn.close_sent.code)

    def _pong(self, payload: bytes) -> None:
        # Who asks and does not read gets no more: 130 MB of answers waited for one such peer after 4 s.
        if self.ready and not self.close_sent:
            self.write(Frame(Opcode.PONG, payload).serialize(mask=False))

    def handle_close(self, event: Frame) -> None:
        self._flush()
        super().handle_close(event)
        self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.close(CloseCode.TOO_SLOW)

    def _hand_on(self, text: bytes) -> None:
        if self.close_sent:
            return
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self.close(CloseCode.INVALID_TEXT)
                return
        if self.listener is not None:
            self.listener.on_message(text)

    def _say_goodbye(self, code: int) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)


def _subprotocols(headers: list[tuple[bytes, bytes]]) -> list[str]:
    return [
        token.strip().decode("latin-1")
        for name, value in headers
        if name == b"sec-websocket-protocol"
        for token in value.split(b",")
    ]
