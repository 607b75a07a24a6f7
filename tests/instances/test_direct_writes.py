"""Frames that are written past the transport never come between the bytes that it still holds."""

import asyncio
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.instances.stalled import PING, PONG, Stalled, masked
from tools.harness.http import Api, Person
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio

SECONDS = 6.0
ENOUGH = 50
"""Updates that tell something; where six seconds bring fewer, it goes on."""
SLOW = 30
VOTERS = 10
MOST_CHANGES = 60
RECEIVE_BUFFER = 2304


class PollReader(Stalled):
    """Answers pings; ``updates`` of its one poll so far, and the seq of the newest tally."""

    def __init__(self, server: Server, buffer: int | None = None) -> None:
        super().__init__(server, buffer)
        self.updates = 0
        self.seq = -1
        self.pauses_until = 0.0
        self.asked: set[bytes] = set()

    def ping(self, payload: bytes) -> None:
        self.asked.add(payload)
        self.send_bytes(masked(PING, payload))

    def take(self, most: int = 262_144) -> None:
        """What is there already. ``Stalled`` fails where it is no sequence of frames."""
        assert self.read(0, most) and self.close_code is None, f"it was dropped ({self.close_code})"
        texts, self.texts = self.texts, []
        for message in texts:
            if "tally" in message:
                assert message["tally"]["seq"] >= self.seq
                self.seq = message["tally"]["seq"]
                self.updates += message["type"] == "POLL_UPDATE"
        controls, self.controls = self.controls, []
        for opcode, payload in controls:
            if opcode == PING:
                self.send_bytes(masked(PONG, payload))
            else:
                assert payload in self.asked


def play(
    server: Server, poll: dict[str, Any], people: list[Person], stack: ExitStack
) -> tuple[int, list[int]]:
    """Updates to one that reads all, and to each of those that read little, with answers and pongs between."""
    dice = random.Random(0)
    voters, slow = (
        [PollReader(server) for _ in people],
        [PollReader(server, RECEIVE_BUFFER) for _ in range(SLOW)],
    )
    for reader in [*voters, *slow]:
        stack.callback(reader.close)
        reader.send({"type": "JOIN_POLL", "pollId": poll["id"]})
    for voter, person in zip(voters, people, strict=True):
        voter.send({"type": "AUTH", "token": person.token})
    options, cast, end = option_ids(poll), 0, time.monotonic() + SECONDS
    most = MOST_CHANGES * len(voters)
    while time.monotonic() < end or (voters[0].updates <= ENOUGH and cast < most):
        if cast < most:
            change, turn = divmod(cast, len(voters))
            vote = {"type": "VOTE", "pollId": poll["id"], "optionIds": [options[change]], "id": f"b{change}"}
            voters[turn].send(vote)
            cast += 1
        for voter in voters:
            voter.take()
        for reader in slow:
            if dice.random() < 0.02:
                reader.ping(dice.randbytes(100))
            if dice.random() < 0.02:
                reader.send({"type": "JOIN_POLL", "pollId": poll["id"]})  # the state is 15 kB
            if dice.random() < 0.01:
                reader.pauses_until = time.monotonic() + dice.random() / 2
            if reader.pauses_until < time.monotonic():
                reader.take(dice.choice((300, 2_000, 8_000)))
        time.sleep(0.005)  # the pace of the votes: one each half tick
    end = time.monotonic() + 15
    while any(reader.seq < cast for reader in [*voters, *slow]):
        assert time.monotonic() < end, f"of {cast}: {sorted(reader.seq for reader in [*voters, *slow])}"
        for reader in [*voters, *slow]:
            reader.take()
    return voters[0].updates, [reader.updates for reader in slow]


async def test_no_frame_comes_within_another_whatever_slow_readers_leave_in_the_transport(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, {"TICK_MS": "10", "PING_INTERVAL": "3"}) as server, ExitStack() as stack:
        async with Api(server) as api:
            labels = [f"{number} ".ljust(100, "x") for number in range(MOST_CHANGES)]
            poll = await api.poll(await api.user(), options=labels, guests=True, allowChange=True)
            people = await api.guests(VOTERS)
            shown, to_slow = await asyncio.to_thread(play, server, poll, people, stack)
    print(f"{shown} updates to one that reads all, {min(to_slow)} to {max(to_slow)} to the others")
    assert shown > ENOUGH and min(to_slow) < shown, "nothing waited: too little was sent to tell"
