"""What hostile clients send: heads, requests, WebSocket frames and images, chosen by a random generator."""

import asyncio
import contextlib
import json
import re
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tools.harness.process import Server
from tools.harness.raw import BINARY, CLOSE, PING, PONG, TEXT, raw_socket
from tools.harness.wire import Wire, wire

STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


@dataclass
class Target:
    """``token``: an access token of the poll's owner. ``statuses``: every HTTP status seen -> how often."""

    server: Server
    token: str
    poll_id: str
    option_id: str
    statuses: dict[int, int] = field(default_factory=dict)


Attack = Callable[[Target, Random], Awaitable[None]]


def noise(random: Random, most: int) -> bytes:
    return random.randbytes(random.randint(0, most))


def mutated(random: Random, data: bytes) -> bytes:
    """``data`` with some bytes changed, left out, doubled or cut off."""
    found = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 3, 10))):
        if not found:
            break
        at = random.randrange(len(found))
        match random.randrange(4):
            case 0:
                found[at] = random.randrange(256)
            case 1:
                del found[at : at + random.randint(1, 20)]
            case 2:
                found[at:at] = found[at : at + random.randint(1, 200)] * random.randint(1, 20)
            case _:
                del found[at:]
    return bytes(found)


async def _talk(target: Target, random: Random, data: bytes) -> None:
    """Send in parts, read for a while or not at all, and end in one of several ways."""
    async with wire(target.server) as connection:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data:
                size = random.choice((1, 7, 100, 5000, len(data)))
                await connection.send(data[:size])
                data = data[size:]
                if size < 100:  # a few small parts, then the rest
                    await connection.send(data)
                    break
            if random.random() < 0.3:
                return
            if random.random() < 0.3:
                connection.writer.write_eof()
            await _answers(target, connection)


async def _answers(target: Target, connection: Wire) -> None:
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(0.2):
            while data := await connection.reader.read(1 << 16):
                for status in STATUS.findall(data):
                    target.statuses[int(status)] = target.statuses.get(int(status), 0) + 1


async def heads(target: Target, random: Random) -> None:
    fields = [
        b"Host: a",
        b"Host: b",
        b"Upgrade: h2c",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Connection: close",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Content-Length: 5",
        b"Content-Length: 99999999",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Origin: https://evil.example",
        b"Authorization: Bearer x.y.z",
        b"X: " + b"x" * random.choice((10, 9000, 40_000)),
        *[b"a: b"] * random.choice((0, 0, 150)),
    ]
    lines = [
        random.choice((b"GET", b"POST", b"HEAD", b"BREW"))
        + b" "
        + random.choice((b"/ws", b"/polls", b"/\xff"))
    ]
    lines[0] += random.choice((b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.1", b""))
    lines += [b"Host: a", *random.sample(fields, random.randint(0, len(fields)))]
    body = random.choice((b"", b"abcde", b"5\r\nabcde\r\n0\r\n\r\n", b"1;" + b"x" * 50_000))
    await _talk(
        target,
        random,
        mutated(random, b"\r\n".join([*lines, b"", b""]) + body) * random.choice((1, 1, 1, 50)),
    )


async def requests(target: Target, random: Random) -> None:
    method, path = random.choice(
        (
            (b"POST", b"/auth/register"),
            (b"POST", b"/auth/login"),
            (b"POST", b"/auth/guest"),
            (b"POST", b"/polls"),
            (b"PATCH", f"/polls/{target.poll_id}".encode()),
            (b"POST", f"/polls/{target.poll_id}/votes".encode()),
            (b"DELETE", f"/polls/{target.poll_id}/votes/mine".encode()),
            (b"GET", b"/polls?limit=1000&cursor=x"),
            (b"GET", b"/join/ABCDEF"),
        )
    )
    document = {
        "email": random.choice(("a@b.c", "\u202e@x", 5, None)),
        "password": "p" * random.choice((1, 8, 129)),
        "question": random.choice(("?", "x" * 5000, "\ud800", {"a": []})),
        "options": [random.choice(("a", "b", "\u200b", 5, [[]]))] * random.choice((0, 2, 200)),
        "optionIds": [target.option_id] * random.choice((1, 2)),
        "id": random.choice(("x", "\ud800", "y" * 100, None)),
        "maxChoices": random.choice((0, 1, 10**30, -1, 1e300)),
        "closesAt": random.choice(("tomorrow", "9999-12-31T23:59:59Z", 5)),
    }
    chosen = dict(
        random.sample(sorted(document.items(), key=lambda item: item[0]), random.randint(0, len(document)))
    )
    body = mutated(random, random.choice((json.dumps(chosen).encode(), b"[" * 5000, noise(random, 500))))
    head = b"%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" % (method, path)
    if random.random() < 0.7:
        head += f"Authorization: Bearer {target.token}\r\n".encode()
    length = len(body) if random.random() < 0.9 else random.choice((0, 10**6))
    await _talk(target, random, head + b"Content-Length: %d\r\n\r\n" % length + body)


async def frames(target: Target, random: Random) -> None:
    messages = [
        {"type": "AUTH", "token": target.token},
        {"type": "AUTH", "token": "x.y.z"},
        {"type": "JOIN_POLL", "pollId": target.poll_id},
        {"type": "JOIN_POLL", "code": "ABCDEF"},
        {"type": "VOTE", "pollId": target.poll_id, "optionIds": [target.option_id], "id": "\ud800"},
        {"type": "RETRACT_VOTE", "pollId": target.poll_id},
        {"type": "LEAVE_POLL", "pollId": target.poll_id},
        {"type": "PING", "id": 5},
    ]
    with contextlib.suppress(
        ConnectionError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError
    ):
        async with raw_socket(target.server) as socket:
            for _ in range(random.randint(1, 30)):
                payload = mutated(random, json.dumps(random.choice(messages)).encode())
                kind = random.choice((TEXT,) * 12 + (PING, PONG, BINARY, CLOSE, 0, 3, 11))
                if kind == CLOSE and random.random() < 0.5:
                    payload = struct.pack(">H", random.randrange(65536)) + payload[:50]
                broken = random.random() < 0.05
                await socket.send(
                    kind,
                    payload * (200 if random.random() < 0.02 else 1),
                    fin=random.random() < 0.9,
                    mask=not broken,
                    rsv=random.choice((0,) * 30 + (1, 4)),
                )
            async with asyncio.timeout(0.1):
                while True:
                    await socket.frame()


async def images(target: Target, random: Random) -> None:
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63000100000500010d0a2db4"
        "0000000049454e44ae426082"
    )
    jpeg = b"\xff\xd8" + b"\xff" * random.choice((2, 33_000)) + b"\x00" + noise(random, 2000)
    body = mutated(
        random, random.choice((pixel, jpeg, b"GIF89a" + noise(random, 3000), noise(random, 20_000)))
    )
    if random.random() < 0.02:
        body += b"x" * (6 << 20)
    head = (
        f"PUT /polls/{target.poll_id}/options/{target.option_id}/image HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {target.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with wire(target.server) as connection:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await connection.send(head.encode() + body)
            await _answers(target, connection)


ATTACKS: Final[dict[str, Attack]] = {"heads": heads, "requests": requests, "frames": frames, "images": images}
