"""Budgets that all instances share."""

from typing import Protocol

from ..domain.budgets import Rate


class SharedBudgets(Protocol):
    async def take(self, key: str, rate: Rate) -> float:
        """Spend one call of ``key`` and return 0. If none is left, return the seconds to wait.

        ``UNAVAILABLE`` after a bounded wait.
        """
