"""Budgets in Redis, shared by all instances: one script call per call of a budget."""

from ...domain.budgets import Rate
from ...domain.errors import unavailable
from .connection.client import FAILED
from .connection.cluster import Client
from .connection.keys import Keys
from .connection.scripts import Scripts


class RedisBudgets:
    def __init__(self, client: Client, keys: Keys) -> None:
        self._keys = keys
        self._scripts = Scripts(client)

    async def take(self, key: str, rate: Rate) -> float:
        interval = max(1, round(rate.interval * 1_000_000))
        try:
            wait = await self._scripts.raw("budget", [self._keys.budget(key)], [interval, rate.burst])
        except FAILED as error:
            raise unavailable() from error
        return int(wait) / 1_000_000
