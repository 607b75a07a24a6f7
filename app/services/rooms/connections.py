"""How connections end: the peer went, its session ended, its token expired, or the server goes."""

import asyncio
from typing import Final

from msgspec import UNSET, UnsetType

from ...domain.errors import PollroomError
from ...domain.users import Identity
from ...ports.clock import Clock
from .messages import ErrorMessage
from .rooms import Connection

# The contract's close codes, the same on every transport.
NOT_TEXT, BAD_TEXT, TOO_BIG = 1003, 1007, 1009
RESTART, OVERLOADED = 1012, 4503
BAD_TOKEN, TOO_SLOW, TOO_MANY = 4401, 4408, 4429
LONGEST_TIMER: Final = 3600.0


class ConnectionRegistry:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, set[Connection]] = {}
        self._expiries: dict[Connection, asyncio.TimerHandle] = {}
        self.members: set[Connection] = set()
        self.draining = False

    def arrived(self, member: Connection) -> None:
        self.members.add(member)

    def identified(self, member: Connection, identity: Identity) -> None:
        """From now on the socket lives as long as this session and this token, instead of an earlier one's."""
        self._unbind(member)
        member.identity = identity
        self._sessions.setdefault(identity.session_id, set()).add(member)
        self._watch_expiry(member, identity)

    def gone(self, member: Connection) -> None:
        """Forget a connection that has ended, at once and everywhere."""
        member.closed = True
        self.members.discard(member)
        self._unbind(member)
        member.home.leave_all(member)

    def logged_out(self, session_id: str) -> None:
        for member in list(self._sessions.get(session_id, ())):
            self.refuse(member, PollroomError("UNAUTHENTICATED", "The session has ended."))

    def refuse(self, member: Connection, error: PollroomError, id: str | UnsetType = UNSET) -> None:
        """The token does not hold (any more); ``id`` of the message that brought it."""
        member.send(ErrorMessage.of(error, id))
        self.end(member, BAD_TOKEN)

    def end(self, member: Connection, code: int) -> None:
        """Close with a code, and out of the rooms now: nothing more is written, nobody counts it."""
        member.close(code)
        self._unbind(member)
        member.home.leave_all(member)

    def _unbind(self, member: Connection) -> None:
        if (timer := self._expiries.pop(member, None)) is not None:
            timer.cancel()
        if member.identity is not None:
            bound = self._sessions.get(member.identity.session_id)
            if bound is not None:
                bound.discard(member)
                if not bound:
                    del self._sessions[member.identity.session_id]

    def _watch_expiry(self, member: Connection, identity: Identity) -> None:
        left = (identity.expires_at - self._clock.now()) / 1000
        if left <= 0:
            self.refuse(member, PollroomError("TOKEN_EXPIRED"))
            return
        loop = asyncio.get_running_loop()
        self._expiries[member] = loop.call_later(
            min(left, LONGEST_TIMER) + 0.001, self._watch_expiry, member, identity
        )
