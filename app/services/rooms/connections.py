"""How connections end: the peer left, its session ended, its token expired, or the server stops."""

import asyncio
from typing import Final

from msgspec import UNSET, UnsetType

from ...domain.close_codes import CloseCode
from ...domain.errors import PollroomError
from ...domain.users import Identity
from ...ports.clock import Clock
from .messages import ErrorMessage
from .room import Connection

MAX_TIMER_SECONDS: Final = 3600.0


class ConnectionRegistry:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, set[Connection]] = {}
        self._expiries: dict[Connection, asyncio.TimerHandle] = {}
        self.connections: set[Connection] = set()
        self.draining = False

    def add(self, connection: Connection) -> None:
        self.connections.add(connection)

    def bind(self, connection: Connection, identity: Identity) -> None:
        """Bind the connection to this session and this token, in place of earlier ones."""
        self._unbind(connection)
        connection.identity = identity
        self._sessions.setdefault(identity.session_id, set()).add(connection)
        self._schedule_expiry(connection, identity)

    def remove(self, connection: Connection) -> None:
        """Remove an ended connection from everything, at once."""
        connection.closed = True
        self.connections.discard(connection)
        self._unbind(connection)
        connection.home.leave_all(connection)

    def end_session(self, session_id: str) -> None:
        for connection in list(self._sessions.get(session_id, ())):
            self.refuse(connection, PollroomError("UNAUTHENTICATED", "The session has ended."))

    def refuse(self, connection: Connection, error: PollroomError, id: str | UnsetType = UNSET) -> None:
        """The token does not hold (any more); ``id`` of the message that brought it."""
        connection.send(ErrorMessage.of(error, id))
        self.end(connection, CloseCode.TOKEN_INVALID)

    def end(self, connection: Connection, code: int) -> None:
        """Close with a code. The connection leaves its rooms at once: nothing more is written, and it no longer counts."""
        connection.close(code)
        self._unbind(connection)
        connection.home.leave_all(connection)

    def _unbind(self, connection: Connection) -> None:
        if (timer := self._expiries.pop(connection, None)) is not None:
            timer.cancel()
        if connection.identity is not None:
            bound = self._sessions.get(connection.identity.session_id)
            if bound is not None:
                bound.discard(connection)
                if not bound:
                    del self._sessions[connection.identity.session_id]

    def _schedule_expiry(self, connection: Connection, identity: Identity) -> None:
        left = (identity.expires_at - self._clock.now()) / 1000
        if left <= 0:
            self.refuse(connection, PollroomError("TOKEN_EXPIRED"))
            return
        loop = asyncio.get_running_loop()
        self._expiries[connection] = loop.call_later(
            min(left, MAX_TIMER_SECONDS) + 0.001, self._schedule_expiry, connection, identity
        )
