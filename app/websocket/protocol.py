"""uvicorn's WebSocket protocol, with what the rooms need: prebuilt frames, byte caps, pings by the contract, abort.

Reached only through scope extensions: ``pollroom.abort()`` drops the connection, and ``pollroom.wire()`` hands its messages
over to a member and returns the wire; uvicorn's own queue then carries nothing but the end of the connection.
"""

import os
import socket as sockets
from asyncio.transports import BaseTransport
from typing import Any, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from app.services.departures import BAD_TEXT, NOT_TEXT, TOO_SLOW

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

KERNEL_BUFFER = 32 * 1024
KERNEL_UNSENT = 16 * 1024
HIGH_WATER = 16 * 1024
LOW_WATER = 4 * 1024
"""Bytes in the kernel and in the transport. With the defaults the kernel alone took 4.1 MB from a peer that never reads."""

GOODBYE_SECONDS = 2.0
WHOLE_TEXT = 0x81
"""First byte of a text frame that is a whole message (RFC 6455, 5.2)."""


class Listener(Protocol):
    def received(self, data: bytes) -> None: ...

    def drain(self) -> None: ...


class PollroomProtocol(WebSocketsSansIOProtocol):
    """The wire of one connection, once a member listens."""

    member: Listener | None = None
    ready = True
    _attached = False
    _fd = -1

    def connection_made(self, transport: BaseTransport) -> None:
        self._out: list[bytes] = []
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != sockets.AF_UNIX:
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, KERNEL_BUFFER)
            if hasattr(sockets, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, KERNEL_UNSENT)
        if sock is not None and self.scheme == "ws":
            self._fd = sock.fileno()
        self.transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions["pollroom.wire"] = self._attach
            extensions["pollroom.abort"] = self.transport.abort

    def _attach(self) -> "PollroomProtocol":
        self._attached = True
        return self

    def write(self, frame: bytes) -> None:
        """Answers of one turn of the event loop go out together: a system call each would be a third of a vote's cost."""
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        if self._out:
            data, self._out = b"".join(self._out), []
            if not self.close_sent and not self.transport.is_closing():
                self.transport.write(data)

    def write_now(self, frame: bytes) -> None:
        transport = self.transport
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
                return
            frame = frame[sent:]
        transport.write(frame)

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
        if self.member is not None:
            self.member.drain()

    def data_received(self, data: bytes) -> None:
        # After a bad frame the rest is read and dropped: closing with unread bytes would reset the connection, and the
        # peer would never see why.
        if self.conn.parser_exc is not None:
            return
        if self._attached:
            data = self._whole_texts(data)
        if data:
            super().data_received(data)

    def _whole_texts(self, data: bytes) -> bytes:
        """Hand on the unfragmented text frames at the beginning of what came; what is left goes the library's way.

        Only between frames and messages of the library's parser. It costs a tenth of that way.
        """
        conn, at, size = self.conn, 0, len(data)
        if conn.reader.buffer or conn.current_size is not None or conn.close_rcvd or self.close_sent:
            return data
        while size - at >= 6 and data[at] == WHOLE_TEXT:
            length, start = data[at + 1] & 0x7F, at + 2
            if length == 126:
                length, start = int.from_bytes(data[start : start + 2], "big"), at + 4
                if length < 126 or length > self.config.ws_max_size:
                    break
            end = start + 4 + length
            if data[at + 1] < 0x80 or length == 127 or end > size:
                break
            at = end
            self._hand_on(apply_mask(data[start + 4 : end], data[start : start + 4]))
        return data[at:] if at else data

    def handle_parser_exception(self) -> None:
        assert self.conn.close_sent is not None
        self._flush()
        self._say_goodbye(self.conn.close_sent.code)

    def handle_ping(self) -> None:
        # Who asks and does not read gets no more: 130 MB of answers waited for one such peer after 4 s.
        pong = b"".join(self.conn.data_to_send())
        if self.ready:
            self.transport.write(pong)

    def handle_close(self, event: Frame) -> None:
        self._flush()
        super().handle_close(event)
        self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.close(TOO_SLOW)

    def send_receive_event_to_app(self) -> None:
        if not self._attached or self.member is None:
            super().send_receive_event_to_app()
            return
        data = bytes(self.frames[0]) if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type != "text":
            self.close(NOT_TEXT)
            return
        self._hand_on(data)

    def _hand_on(self, text: bytes) -> None:
        if self.close_sent:
            return
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self.close(BAD_TEXT)
                return
        if self.member is not None:
            self.member.received(text)

    def _say_goodbye(self, code: int) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)
