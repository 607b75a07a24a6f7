"""Whether one that never reads is felt by the rest of its room."""

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from bench.load import Load, Plan
from bench.report import Results
from bench.rows_rooms import UPDATE, room
from bench.run import Bench

ALONE: Final = "all read"
STALLED: Final = "one never reads"


@contextmanager
def never_reads(port: int, poll_id: str) -> Iterator[None]:
    """A socket that joins the room and takes nothing out of its small receive buffer from then on."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(5)
        peer.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        peer.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        assert b" 101 " in peer.recv(64)
        join = json.dumps({"type": "JOIN_POLL", "pollId": poll_id}).encode()
        peer.sendall(bytes((0x81, 0x80 | len(join), 0, 0, 0, 0)) + join)  # masked with zeros
        yield


def slow(bench: Bench, results: Results) -> None:
    """Vote to visible of 1,000 sockets in one room at 1,000 votes per second, with and without one that never reads."""
    stack, size = bench.stack, bench.size
    sockets, rate, seconds = size(1000, 30), size(1000, 100), size(4.0, 0.5)
    people = stack.crowd(size(1000, 20))
    samples = results.new("slow", f"vote to visible, {sockets} sockets, {rate} votes/s: p99", "ms")
    for number in range(-1, bench.rounds):
        for name in (ALONE, STALLED):
            poll = stack.polls(1, allowChange=True)[0]
            each = -(-round(rate * seconds) // len(people))
            plan = room(Plan(bench.path("slow.plan"), update=UPDATE), people, poll, sockets, ballots=each)
            with Load(plan, stack.port, stack.log("load")) as load:
                load.open()
                with never_reads(stack.port, poll.id) if name == STALLED else nullcontext():
                    outcome = load.run(seconds, 10**9, 32, rate, refusals=True)
            if number >= 0:
                samples.add(name, outcome.visible_p99)
                bench.say(
                    f"slow round {number + 1}, {name}: p50 {outcome.visible_p50:.0f}, p99 {outcome.visible_p99:.0f} ms, "
                    f"{outcome.rate:,.0f} votes/s"
                )
    ratio = samples.median(STALLED) / samples.median(ALONE)
    results.line("slow", f"vote to visible of {sockets}, all read: p99", samples.median(ALONE), "ms")
    results.line("slow", "  one more never reads: p99", samples.median(STALLED), "ms")
    results.line("slow", "  with to without", ratio, "x")
