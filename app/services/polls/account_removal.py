"""Deletes the polls and decks of deleted accounts."""

import asyncio
from typing import Final

from ...domain.errors import PollroomError
from ...ports.clock import Clock
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import decks as decks_model
from ...repositories import polls as polls_model
from ...repositories import users as model
from ...utils import logger
from .option_images import OptionImages

ROUND_SECONDS: Final = 2.0
ACCOUNTS: Final = 20
POLLS: Final = 100
KEPT_MS: Final = 300_000
"""For a poll that was being created while its owner's account was deleted."""

_log = logger.get(__name__)


class AccountRemoval:
    def __init__(self, database: Database, ledger: Ledger, clock: Clock, images: OptionImages) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._images = images

    async def run(self) -> None:
        """Until cancelled. What fails is tried again with the next round."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.round()
            except Exception as error:
                _log.warning("deleted accounts: polls not deleted", error=repr(error)[:200])

    async def round(self) -> None:
        for user_id, deleted_at in await model.deleted_accounts(self._database, ACCOUNTS):
            await self._delete_decks(user_id)
            whole = await self._delete_polls(user_id)
            if whole and deleted_at + KEPT_MS < self._clock.now():
                await model.forget_account(self._database, user_id)

    async def _delete_decks(self, user_id: str) -> None:
        while page := await decks_model.page(self._database, user_id, None, POLLS):
            for deck in page:
                async with self._database.transaction() as q:
                    await decks_model.delete(q, deck.id)

    async def _delete_polls(self, user_id: str) -> bool:
        """Whether all of them are deleted."""
        whole, before = True, None
        while page := await polls_model.page(self._database, user_id, before, POLLS):
            for rules in page:
                try:
                    await self._ledger.delete(rules.id)
                    await self._images.discard_all(rules.id)
                except PollroomError as error:
                    if error.code != "NOT_FOUND":
                        whole = False
                        _log.warning("a deleted account's poll is not deleted yet", error=repr(error)[:200])
            before = page[-1].id
        return whole
