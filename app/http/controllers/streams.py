"""Polls and decks as server-sent events."""

from starlette.requests import Request

from ..middleware import Bearer, Reply
from ..request import path_deck_id, path_id
from ..streams import Stream, Streams


class StreamController:
    def __init__(self, streams: Streams, bearer: Bearer) -> None:
        self._streams = streams
        self._bearer = bearer

    async def poll(self, request: Request) -> Reply | Stream:
        return await self._streams.poll(request, self._bearer.optional(request), path_id(request))

    async def deck(self, request: Request) -> Reply | Stream:
        return await self._streams.deck(request, self._bearer.optional(request), path_deck_id(request))
