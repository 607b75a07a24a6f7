"""uvicorn's HTTP protocol with limits: on a request's head and trailers, on every state of a connection, and on refused bodies.

A body that nobody reads is thrown away up to a limit before the connection ends. Closing a connection with unread bytes
resets it, and the client or a proxy would never see the answer.
"""

import urllib.parse
from asyncio.transports import Transport
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..utils.connection_table import client_key
from .cycle_transport import CycleTransport
from .edge import Edge
from .refusal import refusal
from .request_head import (
    CONNECT,
    MALFORMED,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    TOO_LARGE,
    UNKNOWN_HOST,
    UPGRADE_WITH_BODY,
    Refused,
    check_handshake,
    read_head,
    wants_websocket,
    without_upgrade,
)

SLICE_BYTES: Final = 8 * 1024
"""Fed to the parser at a time: what it gathers before a limit is checked."""

DISCARD_BYTES: Final = 64 * 1024 * 1024
"""Of a body that is not read, after its answer."""

LINGER_SECONDS: Final = 5.0
"""For the peer to close after the answer to a malformed request."""

MAX_PIPELINED_BYTES: Final = 1024 * 1024
HEAD_END: Final = b"\r\n\r\n"


class PollroomHttpProtocol(HttpToolsProtocol):
    """``edge`` is shared by all connections of a server."""

    address = ""
    last_active = 0.0
    expires = 0.0
    _guard: CycleTransport | None = None
    _in_head = True
    _exact_head = True
    _head_bytes = 0
    _tail = b""
    _body_left = 0
    _overhead = 0
    _discarded = 0
    _rest = b""
    _refused: Refused | None = None
    _plain_head: bytes | None = None
    _upgrading = False
    _lingering = False

    def __init__(self, *args: Any, edge: Edge | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge = edge or Edge()

    @property
    def user_id(self) -> str | None:
        return self._guard.user_id if self._guard is not None else None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guard = CycleTransport(transport, self.response_written, self._renew)
        self.address = client_key(self.client[0]) if self.client else ""
        self.last_active = self.loop.time()
        self.expires = self.last_active + self._edge.head_seconds
        self._edge.watch(self)
        if not self._edge.table.add(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._edge.connections.discard(self)
        self._edge.table.remove(self)
        self._forget_requests()
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        """Cut what refers to this object and is referred to by it: only the garbage collector would free it."""
        self.parser = None  # type: ignore[assignment]
        if self._guard is not None:
            self._guard.forget()

    def eof_received(self) -> None:
        self._forget_requests()

    def drop(self) -> None:
        self._abort()

    def _abort(self) -> None:
        self._forget_requests()
        self.transport.abort()

    def _forget_requests(self) -> None:
        """The client will not read an answer any more."""
        for cycle in (self._current, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self._rest = b""

    # Deadlines

    @property
    def _current(self) -> RequestResponseCycle | None:
        """The request read last."""
        return self.cycle

    @property
    def _busy(self) -> bool:
        current = self._current
        return bool(self.pipeline) or (current is not None and not current.response_complete)

    def _renew(self) -> None:
        """The deadline of the state that begins now."""
        if self._lingering:
            return
        if self._busy:
            seconds = self._edge.request_seconds
        elif not self._in_head:
            seconds = self._edge.discard_seconds
        else:
            seconds = self._edge.head_seconds if self._head_bytes else self._edge.keep_alive_seconds
        if self.flow.write_paused:
            seconds = min(seconds, self._edge.discard_seconds)
        self.expires = self.loop.time() + seconds

    def expire(self) -> None:
        between_requests = self._in_head and not self._head_bytes and not self._busy
        if (
            between_requests
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()
        ):
            self.transport.close()
        else:
            self._abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.expires = min(self.expires, self.loop.time() + self._edge.discard_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._renew()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._keep(data)
        elif self._is_one_head(data):
            self._feed_part(data)
            if self._upgrading:
                self._upgrading = False
                self.handle_websocket_upgrade()
        else:
            self._feed(data)

    def _is_one_head(self, data: bytes) -> bool:
        """Nearly every read: from its first byte to its last."""
        return (
            self._in_head
            and not self._head_bytes
            and len(data) <= SLICE_BYTES
            and data.find(HEAD_END) == len(data) - len(HEAD_END)
            and self._refused is None
            and not self.pipeline
        )

    def _keep(self, data: bytes) -> None:
        """For after the requests that wait already."""
        self._rest += data
        self.flow.pause_reading()
        if len(self._rest) > MAX_PIPELINED_BYTES:
            self._abort()

    def _feed(self, data: bytes) -> None:
        position, size = 0, len(data)
        while position < size:
            if self._lingering or self._refused is not None:
                self._discard(size - position)
                return
            if self.pipeline:
                self._keep(data[position:])
                return
            end = min(size, position + SLICE_BYTES)
            if self._in_head:
                end = self._end_of_head(data, position, end)
            elif self._body_left > 0:
                end = min(end, position + self._body_left)
            self._feed_part(data if end - position == size else data[position:end])
            position = end
            if self._upgrading:
                self._upgrading = False
                if position < size:
                    self._refuse(UPGRADE_WITH_BODY)
                else:
                    self.handle_websocket_upgrade()
                return
            if self.transport.is_closing():
                return

    def _end_of_head(self, data: bytes, position: int, end: int) -> int:
        """Where the head ends, so that what follows it is not parsed with it."""
        if not self._head_bytes and not self._busy:
            self.expires = self.loop.time() + self._edge.head_seconds
        if self._tail:
            straddling = (self._tail + data[position : position + 3]).find(HEAD_END)
            if straddling >= 0:
                return position + straddling + 4 - len(self._tail)
        found = data.find(HEAD_END, position, end)
        if found >= 0:
            return found + 4
        self._tail = (self._tail + data[max(position, end - 3) : end])[-3:]
        return end

    def _feed_part(self, part: bytes) -> None:
        self._exact_head = self._in_head
        if self._in_head:
            self._head_bytes += len(part)
        else:
            self._overhead += len(part)
            if self._body_left > 0:
                self._body_left -= len(part)
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            pass  # noted in on_headers_complete
        except httptools.HttpParserError:
            self._refused = self._refused or MALFORMED
        if self._plain_head is not None:
            head, self._plain_head = self._plain_head, None
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._in_head = True
            self._head_bytes = 0
            self._feed_part(head)
            return
        gathered = self._head_bytes if self._in_head else self._overhead
        if gathered > MAX_HEAD_BYTES:
            self._refused = self._refused or TOO_LARGE
        if self._refused is not None and not self._lingering:
            self._refuse(self._refused)

    # Parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["pollroom.connection"] = self._guard

    def on_headers_complete(self) -> None:
        exact, size = self._exact_head, self._head_bytes
        self._in_head = False
        self._head_bytes = self._overhead = self._discarded = self._body_left = 0
        self._tail = b""
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            self._refused = TOO_LARGE
            return
        head = read_head(self.headers, version)
        if isinstance(head, Refused):
            self._refused = head
            return
        host, length = head
        if self._edge.allowed_hosts and not self._edge.answers_host(host, self.url):
            self._refused = UNKNOWN_HOST
            return
        if self.parser.should_upgrade():
            self._upgrade(method, version, length, exact)
            return
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = cast(Any, self._guard)
        if self.expect_100_continue:
            cycle.keep_alive = (
                False  # a client that is refused may send the body or not: nobody knows what comes next
            )
        if length:
            self._body_left = length
            self.headers = []  # trailers are read and dropped
        self.last_active = now = self.loop.time()
        if not self.flow.write_paused:
            self.expires = now + self._edge.request_seconds

    def _upgrade(self, method: bytes, version: str, length: int, exact: bool) -> None:
        if method == b"CONNECT":
            self._refused = CONNECT
        elif not exact:
            self._refused = UPGRADE_WITH_BODY
        elif not wants_websocket(method, version, self.headers):
            self._plain_head = without_upgrade(method, self.url, version, self.headers)
        elif length or self._busy:
            self._refused = UPGRADE_WITH_BODY
        elif (refused := check_handshake(self.headers)) is not None:
            self._refused = refused
        else:
            self.scope["method"] = method.decode()
            self._upgrading = True

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        if self._is_dropped():
            return
        super().on_body(body)
        if self.cycle.response_complete:
            self._discard(len(body))

    def on_message_complete(self) -> None:
        if self._is_dropped():
            return
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()
        if self.cycle.response_complete:
            self._renew()

    def _is_dropped(self) -> bool:
        """Whether the message that is parsed never became a request."""
        return self._refused is not None or self._plain_head is not None or self._upgrading

    def _should_upgrade(self) -> bool:
        return False  # decided in on_headers_complete

    # Answers

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.last_active = now = self.loop.time()
        if self._lingering:
            self.flow.resume_reading()
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._refused is not None:
            self._refuse(self._refused)
            return
        elif self._in_head and not self._head_bytes and not self._rest and not self.flow.write_paused:
            self.expires = now + self._edge.keep_alive_seconds
            self.flow.resume_reading()
            return
        self._renew()
        if self._rest:
            self.loop.call_soon(self._continue)
        else:
            self.flow.resume_reading()

    def _continue(self) -> None:
        data, self._rest = self._rest, b""
        if data and not self.transport.is_closing():
            self._feed(data)
            if not self._rest:
                self.flow.resume_reading()

    def response_written(self) -> None:
        """The answer was the connection's last: end it, once the rest of the request's body is thrown away."""
        self.pipeline.clear()
        self._rest = b""
        if self._in_head:
            self.expires = self.loop.time() + self._edge.discard_seconds
            self.transport.close()
        else:
            self._linger(self._edge.discard_seconds)

    def _refuse(self, refused: Refused) -> None:
        """Answer once the requests before this one have been answered."""
        self._refused = refused
        between = self._in_head or self._exact_head
        if self._busy and between:
            self.flow.pause_reading()
            return
        current = self._current
        started = current is not None and current.response_started and not between
        self._forget_requests()
        if started or self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.write(refusal(refused, self.server_state.default_headers))
        self._linger(LINGER_SECONDS)

    def _linger(self, seconds: float) -> None:
        self._lingering = True
        self._discarded = 0
        self.expires = self.loop.time() + seconds
        self.transport.write_eof()
        self.flow.resume_reading()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > DISCARD_BYTES:
            self.transport.abort()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over. ``websockets`` parses no more than what the handshake is computed from."""
        parsed = httptools.parse_url(self.url)
        raw_path = parsed.path
        self.connections.discard(self)
        self._edge.connections.discard(self)
        protocol = cast(Any, self.ws_protocol_class)(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        protocol.begin(
            self._edge.table,
            self,
            {
                "path": self.root_path + urllib.parse.unquote(raw_path.decode("ascii")),
                "raw_path": self.root_path.encode("ascii") + raw_path,
                "query_string": parsed.query or b"",
                "headers": self.headers,
            },
        )
        self.transport.set_protocol(protocol)
        self._let_go()
