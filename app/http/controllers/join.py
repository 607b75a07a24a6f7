"""What a join code leads to, and its QR code."""

import io
from typing import Final

import segno
from starlette.requests import Request

from ...domain.errors import PollroomError
from ...services.polls.decks import Decks
from ...services.voting.votes import Votes
from ..middleware import Bearer, Reply, reply
from ..request import client_of, path_code
from .decks import DeckAsSeen
from .votes import as_seen

_SVG: Final = [
    (b"content-type", b"image/svg+xml"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Host"),
    (b"x-content-type-options", b"nosniff"),
]


class JoinController:
    """``public_url``: where people reach this server; empty if unknown."""

    def __init__(self, votes: Votes, decks: Decks, bearer: Bearer, public_url: str | None) -> None:
        self._votes = votes
        self._decks = decks
        self._bearer = bearer
        self._public_url = public_url

    async def join(self, request: Request) -> Reply:
        identity = self._bearer.optional(request)
        deck, found = await self._votes.find_any(identity, path_code(request), client_of(request))
        if not deck:
            return as_seen(await self._votes.look(identity, found))
        return reply(200, DeckAsSeen.of(*await self._decks.join(identity, found)))

    async def qr(self, request: Request) -> Reply:
        """Nobody's draft has one."""
        self._bearer.optional(request)
        code = path_code(request)
        await self._votes.find_any(None, code, client_of(request))
        base = self._public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        image = io.BytesIO()
        try:
            segno.make(f"{base.rstrip('/')}/p/{code}", micro=False).save(image, kind="svg", scale=8)
        except ValueError:
            raise PollroomError("BAD_MESSAGE", "The Host is too long for a QR code.") from None
        return Reply(200, image.getvalue(), _SVG)
