"""What a slow socket in a deck gets when it reads again: the newest, in order, and nothing of a poll that was left."""

from typing import Any

import msgspec
from msgspec import Struct

from app.services.rooms.feed import Publication
from app.services.rooms.outbox import Outbox
from app.services.rooms.rate_limit import TokenBucket
from app.services.rooms.room import Role
from app.websocket.codec import payload_of
from app.websocket.rooms import WebSocketRooms

DECK, OLD, NEW, NEXT = "deck", "old", "new", "next"


class Wire:
    """A connection that takes bytes or not, as the test says."""

    def __init__(self) -> None:
        self.ready = True
        self.frames: list[Any] = []

    def write(self, frame: bytes) -> None:
        self.frames.append(msgspec.json.decode(payload_of(frame)))

    write_now = write

    def close(self, code: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class News(Struct):
    kind: str
    room: str
    number: int


class Told(Publication):
    def __init__(self, kind: str, room_id: str, number: int = 0) -> None:
        super().__init__()
        self.kind, self.room_id, self.order, self._number = kind, room_id, None, number

    def may_see_counts(self, *, owner: bool, voted: bool) -> bool:
        return voted

    def message(self, counts: bool) -> Struct:
        return News(self.kind, self.room_id, self._number)


class Scene:
    """One socket in a deck that shows ``OLD``, and that does not read."""

    def __init__(self) -> None:
        self.rooms, self.wire = WebSocketRooms(), Wire()
        self.socket = Outbox("one", self.wire, self.rooms, TokenBucket(0))
        self.rooms.join_deck(self.socket, DECK, OLD, Role.STRANGER)
        self.wire.ready = False

    def update(self, poll_id: str, number: int = 0) -> None:
        self.rooms.deliver(Told("POLL_UPDATE", poll_id, number))

    def change(self, poll_id: str, number: int = 0) -> None:
        self.rooms.deliver(Told("POLL_CHANGED", poll_id, number))

    def move(self, poll_id: str | None, number: int = 0) -> None:
        self.rooms.change_deck(Told("DECK_CHANGED", DECK, number), poll_id, ())

    def read(self) -> list[tuple[str, str, int]]:
        self.wire.ready = True
        self.socket.drain()
        return [(frame["kind"], frame["room"], frame["number"]) for frame in self.wire.frames]


def test_what_waits_of_the_old_poll_is_dropped_by_a_move() -> None:
    scene = Scene()
    scene.change(OLD)
    scene.update(OLD)
    scene.move(NEW)
    scene.update(OLD, 1)
    scene.update(NEW, 2)
    assert scene.read() == [("DECK_CHANGED", DECK, 0), ("POLL_UPDATE", NEW, 2)]


def test_the_same_holds_where_the_poll_was_left_before_it_was_closed() -> None:
    scene = Scene()
    scene.update(OLD)
    scene.rooms.detach_deck(DECK)
    scene.change(OLD, 1)
    scene.move(NEW)
    assert scene.read() == [("DECK_CHANGED", DECK, 0)]


def test_of_two_moves_the_last_one_is_told() -> None:
    scene = Scene()
    scene.move(NEW, 1)
    scene.update(NEW)
    scene.change(NEW)
    scene.move(NEXT, 2)
    assert scene.read() == [("DECK_CHANGED", DECK, 2)]


def test_a_poll_that_the_socket_joined_itself_is_not_dropped() -> None:
    scene = Scene()
    scene.rooms.join(scene.socket, OLD, Role.VOTER)
    scene.update(OLD, 1)
    scene.move(NEW)
    assert scene.read() == [("DECK_CHANGED", DECK, 0), ("POLL_UPDATE", OLD, 1)]


def test_a_waiting_move_goes_out_before_a_later_answer() -> None:
    """The answer has a newer tally of the same poll."""
    scene = Scene()
    scene.move(NEW, 1)
    scene.socket.forget(NEW)
    scene.socket.keep_change(DECK)
    scene.socket.send(News("POLL_STATE", NEW, 2))
    scene.change(NEW, 3)
    assert [number for _, _, number in scene.read()] == [1, 2, 3]


def test_roles_are_those_of_the_new_poll() -> None:
    scene = Scene()
    scene.rooms.has_voted(scene.socket, OLD)
    deck = scene.rooms._decks[DECK]
    assert deck.members[Role.VOTER] == {scene.socket}
    scene.move(NEW)
    assert deck.members[Role.STRANGER] == {scene.socket} and not deck.members[Role.VOTER]


def test_leaving_a_poll_keeps_what_the_deck_still_shows() -> None:
    scene = Scene()
    scene.rooms.join(scene.socket, OLD, Role.VOTER)
    scene.update(OLD, 1)
    scene.rooms.leave(scene.socket, OLD)
    assert scene.rooms.viewers(OLD) == 1
    assert scene.rooms._decks[DECK].members[Role.VOTER] == {scene.socket}
    assert scene.read() == [("POLL_UPDATE", OLD, 1)]
    scene.rooms.leave_deck(scene.socket, DECK)
    assert scene.rooms.viewers(OLD) == scene.rooms.deck_viewers(DECK) == 0
    assert not scene.rooms._decks and not scene.rooms._rooms and not scene.rooms._listening
