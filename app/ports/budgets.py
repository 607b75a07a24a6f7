"""Budgets that all instances share."""

from typing import Protocol

from ..domain.budgets import Rate


class SharedBudgets(Protocol):
    async def take(self, key: str, rate: Rate) -> float:
        """Spend one call of ``key``, unless it has none left: then the seconds to wait, else 0.

        ``UNAVAILABLE`` after a bounded wait.
        """
