"""Everything that is stored about a user, as one JSON document in parts. Never hashes or tokens."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...domain.ballots import BallotRow
from ...domain.users import Identity, UserView
from ...domain.values import Camel, rfc3339
from ...ports.database import Database
from ...repositories import ballots as model
from ..accounts.accounts import Accounts
from ..polls.decks import Decks
from ..polls.polls import Polls

CHUNK: Final = 100

_encode: Final = msgspec.json.Encoder().encode


class EarlierVote(Camel):
    id: str
    option_ids: list[str]
    cast_at: str


class ExportedVote(Camel):
    """`optionIds` is empty after a retraction. `earlier`: ballots that this one replaced."""

    poll_id: str
    id: str
    option_ids: list[str]
    cast_at: str
    earlier: list[EarlierVote]


class AccountExport:
    def __init__(self, database: Database, accounts: Accounts, polls: Polls, decks: Decks) -> None:
        self._database = database
        self._accounts = accounts
        self._polls = polls
        self._decks = decks

    async def of(self, identity: Identity) -> AsyncIterator[bytes]:
        """``{user, sessions, polls, decks, votes}``. Votes as far as the vote log was stored in SQL."""
        yield b'{"user":' + _encode(UserView.of(identity.user))
        yield b',"sessions":['
        async for part in _listed(self._sessions(identity)):
            yield part
        yield b'],"polls":['
        async for part in _listed(self._own_polls(identity)):
            yield part
        yield b'],"decks":['
        async for part in _listed(self._own_decks(identity)):
            yield part
        yield b'],"votes":['
        async for part in _listed(self._votes(identity.user.id)):
            yield part
        yield b"]}"

    async def _sessions(self, identity: Identity) -> AsyncIterator[Sequence[Struct]]:
        cursor: str | None = None
        while True:
            items, cursor = await self._accounts.sessions(identity, CHUNK, cursor)
            yield items
            if cursor is None:
                return

    async def _own_polls(self, identity: Identity) -> AsyncIterator[Sequence[Struct]]:
        cursor: str | None = None
        while True:
            items, cursor = await self._polls.mine(identity, CHUNK, cursor)
            yield items
            if cursor is None:
                return

    async def _own_decks(self, identity: Identity) -> AsyncIterator[Sequence[Struct]]:
        cursor: str | None = None
        while True:
            items, cursor = await self._decks.mine(identity, CHUNK, cursor)
            yield items
            if cursor is None:
                return

    async def _votes(self, user_id: str) -> AsyncIterator[Sequence[Struct]]:
        after = ""
        while rows := await model.ballots_of_voter(self._database, user_id, after, CHUNK):
            yield [_vote(row) for row in rows]
            after = rows[-1].poll_id


async def _listed(chunks: AsyncIterator[Sequence[Struct]]) -> AsyncIterator[bytes]:
    """The items of a JSON array."""
    first = True
    async for chunk in chunks:
        if chunk:
            yield (b"" if first else b",") + b",".join(map(_encode, chunk))
            first = False


def _vote(row: BallotRow) -> ExportedVote:
    earlier: list[list[Any]] = msgspec.json.decode(row.earlier)
    return ExportedVote(
        row.poll_id,
        row.ballot_id,
        _options(row.choices),
        rfc3339(row.cast_at),
        [EarlierVote(id, list(options), rfc3339(at)) for id, _, options, _, at in earlier],
    )


def _options(choices: str) -> list[str]:
    return choices.split(",") if choices else []
