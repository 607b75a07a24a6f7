"""Verifiable polls over HTTP: what anybody needs to check a result."""

import re
from typing import Final

from starlette.requests import Request

from ...domain.errors import invalid
from ...services.polls.verifying import Verifying
from ..middleware import Bearer, Reply, StreamReply, reply, streamed
from ..request import client_of, path_id

_CSV: Final = [
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="ballots.csv"'),
]
_LEAF: Final = re.compile(r"[0-9A-Fa-f]{64}")


class VerifyingController:
    def __init__(self, verifying: Verifying, bearer: Bearer) -> None:
        self._verifying = verifying
        self._bearer = bearer

    async def key(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(200, await self._verifying.key())

    async def commitment(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(200, await self._verifying.commitment(path_id(request)))

    async def ballots(self, request: Request) -> StreamReply:
        identity = self._bearer.optional(request)
        return await streamed(self._verifying.ballots(identity, path_id(request)), _CSV)

    async def proof(self, request: Request) -> Reply:
        self._bearer.optional(request)
        poll_id, leaf = path_id(request), request.query_params.get("leaf", "")
        if not _LEAF.fullmatch(leaf):
            raise invalid("leaf", "must be 64 hex digits")
        return reply(200, await self._verifying.proof(poll_id, leaf.lower(), client_of(request)))
