"""One voter of a deck: follows it from question to question, and answers each once, now and then too late."""

import asyncio
import random
import time
from typing import Final

from msgspec import Struct

from ..domain.values import new_id
from .guest import AGAIN, Guest
from .hall import Ballots, Hall
from .link import Message, Tally

BACK: Final = "a deck's version went back"
ELSEWHERE: Final = "a ballot was answered for another poll"


class Cast(Struct):
    poll: Ballots
    option: str
    sent: float


class Follower(Guest):
    """``polls``: of the deck, by id. ``spread``: seconds within which it answers a question."""

    def __init__(
        self, hall: Hall, token: str, deck_id: str, polls: dict[str, Ballots], spread: float, turn: int
    ) -> None:
        super().__init__(hall, token, turn)
        self._deck_id = deck_id
        self._polls = polls
        self._spread = spread
        self._version = 0
        self._answered: set[str] = set()
        self._waiting: dict[str, Cast] = {}
        self._seen: dict[str, Tally] = {}
        self._acknowledged = 0

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    @property
    def unseen(self) -> int:
        """Not measured: whose vote is shown only after the host has moved on sees it nowhere."""
        return 0

    @property
    def unknown(self) -> int:
        """Ballots without an answer."""
        return len(self._waiting)

    @property
    def attempts(self) -> int:
        return len(self._answered)

    @property
    def up_to_date(self) -> bool:
        *_, last = self._polls.values()
        seen = self._seen.get(last.id)
        return seen is not None and seen.order >= last.final

    def received(self, message: Message, at: float) -> None:
        if message.deck is not None:
            self._check_version(message.deck.version)
        poll_id = message.poll.id if message.poll is not None else message.poll_id
        if poll_id is not None and message.tally is not None:
            self._see(poll_id, message.tally)
        match message.type:
            case "WELCOME":
                self._welcomed(message)
            case "DECK_STATE":
                self._joined(at)
            case "POLL_STATE" | "DECK_CHANGED" if poll_id is not None:
                self._ask(poll_id)
            case "VOTE_ACCEPTED" if message.id in self._waiting:
                self._accepted(str(message.id), message, at)
            case "ERROR":
                self._error(message)

    def _enter(self) -> None:
        self._send({"type": "JOIN_DECK", "deckId": self._deck_id})

    def _joined(self, at: float) -> None:
        super()._joined(at)
        for ballot_id in self._waiting:
            self._hall.resent["lost connection"] += 1
            self._send_ballot(ballot_id)

    def _check_version(self, version: int) -> None:
        if version < self._version:
            self._hall.broken[BACK] += 1
        self._version = version

    def _ask(self, poll_id: str) -> None:
        """A question: think about it for a while, once."""
        poll = self._polls.get(poll_id)
        if poll is not None and poll_id not in self._answered:
            self._answered.add(poll_id)
            option = random.choices(list(poll.options), poll.weights)[0]
            self._waiting[ballot_id := new_id()] = Cast(poll, option, 0.0)
            asyncio.get_running_loop().call_later(
                random.uniform(0, self._spread), self._send_ballot, ballot_id
            )

    def _send_ballot(self, ballot_id: str) -> None:
        cast = self._waiting.get(ballot_id)
        if cast is None or not self._present:
            return
        now = time.monotonic()
        cast.sent = cast.sent or now
        self._asked = self._asked or now
        self._send({"type": "VOTE", "id": ballot_id, "pollId": cast.poll.id, "optionId": cast.option})

    def _accepted(self, ballot_id: str, message: Message, at: float) -> None:
        cast = self._waiting.pop(ballot_id)
        self._asked = 0.0
        self._acknowledged += 1
        self._hall.acks.append(at - cast.sent)
        self._hall.repeated += message.repeated
        if message.poll_id != cast.poll.id:
            self._hall.broken[ELSEWHERE] += 1
        if not cast.poll.count(cast.option, message.seq or 0):
            self._hall.broken["two ballots with one seq"] += 1
        self._hall.settled.passed()

    def _see(self, poll_id: str, tally: Tally) -> None:
        before = self._seen.get(poll_id)
        if before is not None and tally.order < before.order:
            self._hall.broken["a tally went back"] += 1
        self._seen[poll_id] = self.last = tally
        poll = self._polls.get(poll_id)
        if poll is not None and (poll.newest is None or tally.order > poll.newest.order):
            poll.newest = tally

    def _error(self, message: Message) -> None:
        code, ballot_id = message.code or "?", message.id
        if code in AGAIN:
            self._asked = 0.0
            self._hall.resent[code] += 1
            link = self._link
            self._later(
                lambda: self._still(
                    link, lambda: self._send_ballot(ballot_id) if ballot_id else self._join()
                ),
                message.retry_after,
            )
        elif ballot_id in self._waiting:
            del self._waiting[str(ballot_id)]
            self._asked = 0.0
            self._hall.refused[code] += 1
            self._hall.settled.passed()
        elif code not in ("UNAUTHENTICATED", "TOKEN_EXPIRED"):  # after these comes 4401
            self._fail(code)

    def _give_up(self, reason: str) -> None:
        self._hall.failed[reason] += 1
