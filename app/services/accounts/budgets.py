"""Budgets of calls, by client address or account: in Redis for all instances, in this process while Redis is away."""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Final

from ...domain.budgets import BudgetName, Rate, next_arrival
from ...domain.errors import PollroomError
from ...ports.budgets import SharedBudgets
from ...utils import logger
from ...utils.client_address import shortened
from ...utils.connection_table import client_key

REMEMBERED: Final = 20_000
"""Keys that this process remembers, of each kind; beyond that the oldest is forgotten."""
AWAY_SECONDS: Final = 1.0
"""How long Redis is not asked after it failed."""
LOG_SECONDS: Final = 1.0
"""At most one line per budget in this time."""

log = logger.get(__name__)


class Budgets:
    """``refused``: budget -> how many calls were refused by this process. ``secret``: so that keys do not show addresses."""

    def __init__(self, shared: SharedBudgets, rates: Mapping[BudgetName, Rate], secret: bytes) -> None:
        self._shared = shared
        self._rates = rates
        self._secret = secret
        self._arrivals: OrderedDict[str, float] = OrderedDict()
        self._empty_until: OrderedDict[str, float] = OrderedDict()
        self._away_until = 0.0
        self._logged: dict[str, float] = {}
        self.refused: Counter[str] = Counter()

    async def take(self, name: BudgetName, client: str | None, subject: str = "") -> None:
        """Spend one call of this client, by address (IPv6: by /64 network), or of ``subject`` in its place.

        ``RATE_LIMITED`` where none is left. ``client`` None: a caller without an address, which has no budget.
        """
        rate = self._rates[name]
        if client is None or not rate.burst:
            return
        key = self._key(name, subject or client_key(client))
        self._check(name, key, client)
        wait = await self._spend(key, rate)
        if wait > 0:
            self._remember(self._empty_until, key, time.monotonic() + wait)
            self._refuse(name, client, wait)

    async def spend(self, subject: str, rate: Rate) -> bool:
        """Spend one call of ``subject``, which is no client; false where none is left."""
        return not await self._spend(self._key("once", subject), rate)

    def check(self, name: BudgetName, client: str | None) -> None:
        """``RATE_LIMITED`` if this process knows that the client has none left. Spends nothing."""
        if client is not None and self._empty_until:
            self._check(name, self._key(name, client_key(client)), client)

    def _key(self, name: str, subject: str) -> str:
        digest = hashlib.blake2b(subject.encode(), digest_size=16, key=self._secret[:64]).hexdigest()
        return f"{name}:{digest}"

    def _check(self, name: BudgetName, key: str, client: str) -> None:
        wait = self._empty_until.get(key, 0.0) - time.monotonic()
        if wait > 0:
            self._refuse(name, client, wait)

    async def _spend(self, key: str, rate: Rate) -> float:
        now = time.monotonic()
        if now >= self._away_until:
            try:
                return await self._shared.take(key, rate)
            except PollroomError:
                log.warning("budgets are kept by this process alone: Redis does not answer")
                self._away_until = time.monotonic() + AWAY_SECONDS
        now = time.monotonic()
        arrival, wait = next_arrival(self._arrivals.get(key), now, rate)
        if not wait:
            self._remember(self._arrivals, key, arrival)
        return wait

    def _refuse(self, name: BudgetName, client: str, wait: float) -> None:
        self.refused[name] += 1
        now = time.monotonic()
        if now >= self._logged.get(name, 0.0):
            self._logged[name] = now + LOG_SECONDS
            log.warning("over budget", budget=name, network=shortened(client), refused=self.refused[name])
        raise PollroomError("RATE_LIMITED", retry_after=max(round(wait, 3), 0.001))

    @staticmethod
    def _remember(kept: OrderedDict[str, float], key: str, value: float) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > REMEMBERED:
            kept.popitem(last=False)
