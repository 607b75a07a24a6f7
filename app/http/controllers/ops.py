"""For operators; and the socket's address, asked without an upgrade."""

from starlette.requests import Request

from app.http.middleware import Reply, reply
from app.services.readiness import Readiness
from app.utils.errors import PollroomError


class OpsController:
    """Takes no token: a probe with a stale one still learns the truth."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def healthz(self, request: Request) -> Reply:
        return reply(200, {"status": "ok"})

    async def readyz(self, request: Request) -> Reply:
        status, report = await self._readiness.report()
        return reply(status, report)

    async def upgrade_required(self, request: Request) -> Reply:
        raise PollroomError("UPGRADE_REQUIRED")
