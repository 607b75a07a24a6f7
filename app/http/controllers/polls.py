"""Polls over HTTP: what their owners do."""

from typing import Final

import msgspec
from starlette.requests import Request

from ...domain.ballots import Tally
from ...domain.polls import NewPoll, NewRound, PollEdit, PollView
from ...domain.values import Camel
from ...services.polls.polls import Polls
from ..middleware import Bearer, Reply, no_content, reply
from ..request import MAX_POLL_BODY, body, optional_body, page, path_id, poll_key

_NEW: Final = msgspec.json.Decoder(NewPoll)
_EDIT: Final = msgspec.json.Decoder(PollEdit)
_ROUND: Final = msgspec.json.Decoder(NewRound)


class OnePoll(Camel):
    poll: PollView


class PollPage(Camel):
    """``next_cursor`` is null at the end."""

    items: list[PollView]
    next_cursor: str | None


class PollAndTally(Camel):
    poll: PollView
    tally: Tally


class PollController:
    def __init__(self, polls: Polls, bearer: Bearer) -> None:
        self._polls = polls
        self._bearer = bearer

    async def create(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        key = poll_key(request)
        poll, created = await self._polls.create(identity, await body(request, _NEW, MAX_POLL_BODY), key)
        return reply(201 if created else 200, OnePoll(poll))

    async def mine(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        items, cursor = await self._polls.mine(identity, *page(request))
        return reply(200, PollPage(items, cursor))

    async def edit(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        edit = await body(request, _EDIT, MAX_POLL_BODY)
        return reply(200, OnePoll(await self._polls.edit(identity, path_id(request), edit)))

    async def delete(self, request: Request) -> Reply:
        await self._polls.delete(self._bearer.required(request), path_id(request))
        return no_content()

    async def open(self, request: Request) -> Reply:
        snapshot = await self._polls.open(self._bearer.required(request), path_id(request))
        return reply(200, PollAndTally(snapshot.poll, snapshot.tally))

    async def close(self, request: Request) -> Reply:
        snapshot = await self._polls.close(self._bearer.required(request), path_id(request))
        return reply(200, PollAndTally(snapshot.poll, snapshot.tally))

    async def pause(self, request: Request) -> Reply:
        snapshot = await self._polls.pause(self._bearer.required(request), path_id(request), True)
        return reply(200, PollAndTally(snapshot.poll, snapshot.tally))

    async def resume(self, request: Request) -> Reply:
        snapshot = await self._polls.pause(self._bearer.required(request), path_id(request), False)
        return reply(200, PollAndTally(snapshot.poll, snapshot.tally))

    async def reveal(self, request: Request) -> Reply:
        snapshot = await self._polls.reveal(self._bearer.required(request), path_id(request))
        return reply(200, PollAndTally(snapshot.poll, snapshot.tally))

    async def again(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        key = poll_key(request)
        form = await optional_body(request, _ROUND) or NewRound()
        poll, created = await self._polls.again(identity, path_id(request), bool(form.draft), key)
        return reply(201 if created else 200, OnePoll(poll))
