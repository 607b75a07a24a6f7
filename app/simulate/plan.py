"""What a run is to do, and the limits of it."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

MOST_VOTERS: Final = 20_000
MOST_POLLS: Final = 1_000
MOST_QUESTIONS: Final = 200
"""Polls of a deck."""

OPTIONS: Final = ("Tea", "Coffee", "Cocoa", "Water")


class Plan(Struct, frozen=True):
    """``instances``: base URLs, voters go to each in turn. ``deck``: everybody answers a deck of so many polls instead.

    In seconds: ``ramp``, over which they arrive and over which they then vote; ``stay``, how long they remain after the
    last vote; ``patience``, how long the end of any stage is waited for.
    """

    voters: int
    polls: int
    instances: tuple[str, ...]
    ramp: float
    stay: float
    patience: float
    deck: int = 0


def addresses(text: str) -> tuple[str, ...]:
    """``URL[,URL…]`` as base URLs without a trailing slash. Raises ``ValueError`` with a sentence."""
    urls = tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())
    for url in urls:
        parts = urlsplit(url)
        # .port raises ValueError, too, with a sentence of its own
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query:
            raise ValueError(f"{url} is not http://host[:port] or https://host[:port]")
    if not urls:
        raise ValueError("at least one URL is needed")
    return urls
