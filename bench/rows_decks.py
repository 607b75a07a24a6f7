"""What it costs to take everybody in a deck to the next poll."""

import base64
import json
import os
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bench.process import Running
from bench.report import Results
from bench.run import Bench
from bench.stack import Api

CHANGE: Final = "POLL_CHANGED by an edit"
CLOSE: Final = "POLL_CHANGED by /close"
MOVE: Final = "move"
KEEP: Final = "move with close: false"
AFTERMATH_SECONDS: Final = 0.5
"""What a call causes later, such as updates of viewers, counts as its cost."""
ARRIVED_SECONDS: Final = 10.0
WAVE: Final = 50


class Crowd:
    """Sockets in one deck, spread over ports, read by this process."""

    def __init__(self, ports: Sequence[int], count: int, deck_id: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for start in range(0, count, WAVE):
            for number in range(start, min(start + WAVE, count)):
                self._open(ports[number % len(ports)], deck_id)
            self.wait(b'"DECK_STATE"', self._sockets[start:])

    def _open(self, port: int, deck_id: str) -> None:
        peer = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        peer.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        if b" 101 " not in peer.recv(64):
            raise RuntimeError("no upgrade")
        join = json.dumps({"type": "JOIN_DECK", "deckId": deck_id}).encode()
        peer.sendall(bytes((0x81, 0x80 | len(join), 0, 0, 0, 0)) + join)  # masked with zeros
        peer.setblocking(False)
        self._selector.register(peer, selectors.EVENT_READ)
        self._sockets.append(peer)

    def wait(self, marker: bytes, sockets: Sequence[socket.socket] | None = None) -> float:
        """Until each of them got a message with the marker; when the last one did."""
        missing = set(self._sockets if sockets is None else sockets)
        kept: dict[socket.socket, bytes] = {}
        until = time.monotonic() + ARRIVED_SECONDS
        while missing:
            if time.monotonic() > until:
                raise RuntimeError(f"{len(missing)} sockets did not get {marker!r}")
            for key, _ in self._selector.select(0.1):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                data = kept.pop(peer, b"")[-len(marker) :] + peer.recv(1 << 16)
                if peer in missing and marker in data:
                    missing.discard(peer)
                else:
                    kept[peer] = data
        return time.monotonic()

    def drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.recv(1 << 16)

    def close(self) -> None:
        for peer in self._sockets:
            peer.close()
        self._selector.close()


@contextmanager
def crowd(ports: Sequence[int], count: int, deck_id: str) -> Iterator[Crowd]:
    found = Crowd(ports, count, deck_id)
    try:
        yield found
    finally:
        found.close()


def deck(bench: Bench, results: Results) -> None:
    """CPU and time of a move beside a POLL_CHANGED, 2,000 sockets in a deck on two instances."""
    stack, count = bench.stack, bench.size(2000, 40)
    title = f"a deck with {count} sockets on two instances"
    used = results.new("deck", f"{title}: CPU of both", "ms")
    shown = results.new("deck", f"{title}: until the last socket has it", "ms")
    # These sockets answer no pings.
    quiet = {"PING_INTERVAL": "3600"}
    with stack.fresh_web(**quiet) as (one, first), stack.fresh_web(**quiet) as (two, second):
        api = Api(first)

        def as_owner(method: str, path: str, body: Any = None) -> Any:
            return api.call(method, path, body, stack.owner)

        polls = [poll.id for poll in stack.polls(3 * (bench.rounds + 2), draft=True)]
        made = as_owner("POST", "/decks", {"title": "Deck", "pollIds": polls})["deck"]["id"]
        path, following = f"/decks/{made}/current", iter(polls)
        current = next(following)
        as_owner("POST", path, {"pollId": current})
        with crowd((first, second), count, made) as room:
            room.drain(3.0)
            idle = _idle(room, (one, two))
            for number in range(-1, bench.rounds):

                def call(what: str, body: Any = None) -> Callable[[], Any]:
                    return lambda: as_owner(*what.split(" "), body)

                calls: dict[str, tuple[bytes, Callable[[], Any]]] = {
                    CHANGE: (
                        b'"POLL_CHANGED"',
                        call(f"PATCH /polls/{current}", {"description": f"Round {number}"}),
                    ),
                    KEEP: (
                        b'"DECK_CHANGED"',
                        call(f"POST {path}", {"pollId": next(following), "close": False}),
                    ),
                    MOVE: (b'"DECK_CHANGED"', call(f"POST {path}", {"pollId": (current := next(following))})),
                    CLOSE: (b'"POLL_CHANGED"', call(f"POST /polls/{current}/close")),
                }
                for name, (marker, act) in calls.items():
                    cpu, seconds = _measured(room, (one, two), marker, act)
                    if number >= 0:
                        used.add(name, (cpu - idle * AFTERMATH_SECONDS) * 1000)
                        shown.add(name, seconds * 1000)
                        bench.say(
                            f"deck round {number + 1} {name}: CPU {cpu * 1000:.1f} ms, {seconds * 1000:.0f} ms"
                        )
                current = next(following)
                as_owner("POST", path, {"pollId": current, "close": False})
                room.wait(b'"DECK_CHANGED"')
                room.drain(AFTERMATH_SECONDS)
    for name in (CHANGE, CLOSE, MOVE, KEEP):
        results.line("deck", f"{title}, {name}: CPU of both", used.median(name), "ms")
        bound = 500 if name in (MOVE, KEEP) else None
        goal = "at most 500 ms" if bound else "printed"
        results.line("deck", "  until the last socket has it", shown.median(name), "ms", goal, bound)


def _measured(
    room: Crowd, webs: Sequence[Running], marker: bytes, act: Callable[[], Any]
) -> tuple[float, float]:
    before, begin = sum(web.cpu() for web in webs), time.monotonic()
    calling = threading.Thread(target=act)
    calling.start()
    end = room.wait(marker)
    calling.join()
    room.drain(AFTERMATH_SECONDS)
    return sum(web.cpu() for web in webs) - before, end - begin


def _idle(room: Crowd, webs: Sequence[Running]) -> float:
    """CPU per second while nothing happens."""
    found = []
    for _ in range(4):
        before = sum(web.cpu() for web in webs)
        room.drain(0.5)
        found.append((sum(web.cpu() for web in webs) - before) / 0.5)
    return statistics.median(found)
