"""What a transport shows the feeds of its sockets."""

from typing import Protocol


class Update(Protocol):
    """The newest of one poll, to be shown: encoded at most once for each audience."""

    @property
    def poll_id(self) -> str: ...

    @property
    def kind(self) -> str:
        """``POLL_UPDATE``, ``POLL_CHANGED`` or ``POLL_DELETED``."""

    def may_see_counts(self, *, owner: bool, voted: bool) -> bool:
        """Whether such a reader may see the counts."""

    def encoded(self, counts: bool) -> bytes:
        """The JSON message with or without counts."""


class Sink(Protocol):
    """A transport's sockets in rooms. Called by the feeds, never blocks."""

    def viewers(self, poll_id: str) -> int: ...

    def users_without_vote(self, poll_id: str) -> list[str]:
        """Users in the room who are not known to have voted."""

    def mark_voted(self, poll_id: str, voter_ids: set[str]) -> None:
        """These have voted, as it turned out: they may see more from now on."""

    def deliver(self, update: Update) -> None: ...
