"""Votes over HTTP, and what everybody reads of a poll."""

from typing import Final

import msgspec
from msgspec import UNSET
from starlette.requests import Request

from ...domain.ballots import Snapshot, Tally, VoteAccepted, VoteRetracted, YourVote
from ...domain.polls import OptionView, PollView
from ...domain.values import Camel, rfc3339
from ...domain.vote_forms import VoteForm
from ...services.voting.votes import Votes
from ..middleware import Bearer, Reply, reply
from ..request import ballot_key, body, path_id
from ..results_csv import results_csv

_CSV: Final = [
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="results.csv"'),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_VOTE: Final = msgspec.json.Decoder(VoteForm)


class PollAsSeen(Camel):
    poll: PollView
    tally: Tally
    your_vote: YourVote | None


class Results(Camel):
    poll_id: str
    options: list[OptionView]
    tally: Tally


class VoteController:
    def __init__(self, votes: Votes, bearer: Bearer) -> None:
        self._votes = votes
        self._bearer = bearer

    async def cast(self, request: Request) -> Reply:
        # The contract's order for votes: form, token, NOT_FOUND, then what the service checks.
        form = await body(request, _VOTE)
        choices = form.choices()
        ballot_id = ballot_key(request, None if form.id is UNSET else form.id)
        identity = self._bearer.required(request)
        receipt = await self._votes.cast(identity, path_id(request), ballot_id, choices)
        accepted = VoteAccepted(
            receipt.id,
            receipt.poll_id,
            receipt.choices,
            receipt.seq,
            rfc3339(receipt.cast_at),
            receipt.repeated,
        )
        return reply(200 if receipt.repeated else 201, accepted)

    async def retract(self, request: Request) -> Reply:
        ballot_id = ballot_key(request)
        identity = self._bearer.required(request)
        receipt = await self._votes.retract(identity, path_id(request), ballot_id)
        return reply(200, VoteRetracted(receipt.id, receipt.poll_id, receipt.seq, receipt.repeated))

    async def look(self, request: Request) -> Reply:
        identity = self._bearer.optional(request)
        return as_seen(await self._votes.look(identity, path_id(request)))

    async def results(self, request: Request) -> Reply:
        identity = self._bearer.optional(request)
        seen = await self._votes.look(identity, path_id(request))
        return reply(200, Results(seen.poll.id, seen.poll.options, seen.tally))

    async def results_csv(self, request: Request) -> Reply:
        identity = self._bearer.optional(request)
        seen = await self._votes.look(identity, path_id(request))
        return Reply(200, results_csv(seen, excel=request.query_params.get("excel") == "1"), _CSV)


def as_seen(seen: Snapshot) -> Reply:
    return reply(200, PollAsSeen(seen.poll, seen.tally, seen.your_vote))
