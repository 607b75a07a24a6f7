"""Where option images are kept."""

from typing import Protocol

from ..domain.errors import PollroomError


class NotKept(PollroomError):
    """``UNAVAILABLE``, and nothing came of the call: the storage refused it, or was not asked."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", retry_after=2.0)


class Storage(Protocol):
    """Small public files that never change: a name is used once. Letters, digits, ``_`` and ``-``, then ``.webp``.

    Every call raises ``UNAVAILABLE`` after a bounded wait, and at once where too many wait.
    """

    async def put(self, name: str, data: bytes, content_type: str) -> None:
        """It is kept when this returns; nobody sees a part of it. ``NotKept`` where it certainly is not."""

    async def get(self, name: str) -> bytes | None: ...

    async def delete(self, name: str) -> None:
        """Also what is not there."""

    def url(self, name: str) -> str:
        """Where clients read it without a token: an address, or a path on this server."""
