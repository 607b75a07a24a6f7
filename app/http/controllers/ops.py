"""For operators; and the socket's address, asked without an upgrade."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from starlette.requests import Request

from ...domain.errors import PollroomError
from ...domain.values import Camel
from ...services.health import Readiness
from ..middleware import Headers, Reply, reply

_FIGURES: Final[Headers] = [
    (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),
    (b"cache-control", b"no-store"),
]


class Health(Camel):
    status: Literal["ok"] = "ok"


class Check(Camel):
    status: Literal["ok", "away", "deaf", "failing"]
    detail: str


class Report(Camel):
    """`acknowledged`: one sentence of what it means that a vote was acknowledged here."""

    status: Literal["ready", "degraded", "deaf", "failing", "draining"]
    acknowledged: str
    checks: dict[str, Check]


class OpsController:
    """Takes no token: a probe with a stale one still learns the truth.

    ``figures``: in the text format of Prometheus 0.0.4.
    """

    def __init__(self, readiness: Readiness, figures: Callable[[], Awaitable[bytes]]) -> None:
        self._readiness = readiness
        self._figures = figures

    async def healthz(self, request: Request) -> Reply:
        return reply(200, Health())

    async def readyz(self, request: Request) -> Reply:
        status, report = await self._readiness.report()
        return reply(status, Report(**report))

    async def metrics(self, request: Request) -> Reply:
        return Reply(200, await self._figures(), _FIGURES)

    async def upgrade_required(self, request: Request) -> Reply:
        raise PollroomError("UPGRADE_REQUIRED")
