"""The layout of the data in SQL and Redis."""

from typing import Final

LAYOUT: Final = 1
"""Stored in both. A process refuses a higher number: a later version has written data that it cannot read."""
