"""An instance that goes: nobody new, everybody told, every vote answered; and one after another under load."""

import asyncio
import os
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.instances.conftest import OwnPair
from tests.instances.pair import Pair, in_room
from tools.harness.http import Answer, Person
from tools.harness.process import Server
from tools.harness.shapes import counted, option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, bare_socket, socket

pytestmark = pytest.mark.anyio


class Ballots:
    """What voters sent, by their token and the ballot's id: acknowledged, or not known."""

    def __init__(self, poll: dict[str, Any]) -> None:
        self.poll = poll
        self.acked: dict[tuple[str, str], Answer] = {}
        self.unknown: set[tuple[str, str]] = set()

    def choice(self, ballot: str) -> list[str]:
        options = option_ids(self.poll)
        return [options[int(ballot[1:]) % len(options)]]

    def note(self, voter: str, ballot: str, answer: Answer) -> None:
        self.unknown.discard((voter, ballot))
        if answer.code == "UNAVAILABLE":
            self.unknown.add((voter, ballot))
        else:
            assert answer.code is None, answer
            self.acked[voter, ballot] = answer

    async def over_http(self, pair: Pair, voter: Person) -> None:
        """To A, until A is gone."""
        for number in range(64):
            ballot = f"b{number}"
            self.unknown.add((voter.token, ballot))
            body = {"optionIds": self.choice(ballot), "id": ballot}
            try:
                response = await pair.via_a.post(
                    f"/polls/{self.poll['id']}/votes", body, voter, allow_5xx=True
                )
            except httpx.TransportError:
                return
            self.note(
                voter.token,
                ballot,
                Answer(None if response.is_success else response.json()["code"], response.json()),
            )

    async def over_socket(self, sock: Socket, voter: Person) -> None:
        """Until the socket ends."""
        for number in range(64):
            ballot = f"b{number}"
            self.unknown.add((voter.token, ballot))
            try:
                answer = await sock.vote(self.poll["id"], self.choice(ballot), id=ballot)
            except (AssertionError, ConnectionClosed):
                assert not sock.is_open, "no answer on an open socket"
                return
            self.note(voter.token, ballot, answer)


async def test_an_instance_that_goes_tells_everybody_and_answers_what_it_took(own: OwnPair) -> None:
    async with own() as pair, AsyncExitStack() as stack:
        poll = await pair.via_b.poll(await pair.via_b.user(), guests=True, allowChange=True)
        watchers = await in_room(stack, pair.a, poll, 120)
        staying = await in_room(stack, pair.b, poll, 2)
        guests = await pair.via_b.guests(14)
        ballots = Ballots(poll)
        casting = []
        for number, guest in enumerate(guests):
            if number % 2:
                casting.append(asyncio.create_task(ballots.over_http(pair, guest)))
            else:
                sock = await stack.enter_async_context(socket(pair.a, guest))
                casting.append(asyncio.create_task(ballots.over_socket(sock, guest)))

        async def acked() -> int:
            return len(ballots.acked)

        await eventually(acked, lambda number: number > 30)
        process = pair.a.processes[0]
        saying = asyncio.create_task(asyncio.to_thread(after_ready, pair.a))
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert await saying == (503, "draining")
        with suppress(OSError, WebSocketException):  # refused, which is as good
            async with bare_socket(pair.a) as late:
                assert await late.closed() == 1012
                assert not late.frames
        ends: list[float] = []

        async def end(sock: Socket) -> int:
            code = await sock.closed(10)
            ends.append(time.monotonic() - began)
            return code

        assert await asyncio.gather(*map(end, watchers)) == [1012] * 120
        await asyncio.gather(*casting)
        await asyncio.to_thread(pair.a.stop, told=True)
        print(
            f"1012 from {min(ends) * 1000:.0f} to {max(ends) * 1000:.0f} ms after SIGTERM, "
            f"exit before {time.monotonic() - began:.1f} s; {len(ballots.acked)} acked, {len(ballots.unknown)} unknown"
        )
        taken = []
        for voter, ballot in ballots.unknown:
            answer = await pair.via_b.vote(voter, poll["id"], ballots.choice(ballot), id=ballot)
            if answer.body.get("repeated"):
                taken.append(ballot)
            ballots.acked[voter, ballot] = answer
        assert not taken, "taken, and never answered"
        for (voter, ballot), answer in ballots.acked.items():
            (await pair.via_b.vote(voter, poll["id"], ballots.choice(ballot), id=ballot)).repeats(answer)
        await staying[0].viewers(poll, 2)
        await agrees(pair, ballots, staying)


def after_ready(server: Server) -> tuple[int, str]:
    """What ``/readyz`` says first that is not 200: asked without a pause, it listens for a few tenths of a second more."""
    while True:
        code, body = server.readiness()
        if code != 200:
            return code, body["status"] if body else ""


async def agrees(pair: Pair, ballots: Ballots, watchers: list[Socket]) -> None:
    """The tally is what the acknowledged ballots of the highest seq say, and everybody sees it."""
    last: dict[str, tuple[int, str]] = {}
    for (voter, ballot), answer in ballots.acked.items():
        last[voter] = max(last.get(voter, (0, "")), (answer.body["seq"], ballot))
    expected: dict[str, int] = {}
    for _, ballot in last.values():
        option = ballots.choice(ballot)[0]
        expected[option] = expected.get(option, 0) + 1
    tally = await pair.via_b.tally(ballots.poll)
    assert counted(tally) == expected
    for sock in watchers:
        await sock.shows(ballots.poll, seq=tally["seq"])


class Client:
    """Comes back by the rules of ``WELCOME.reconnect``, to either instance as a balancer would send it."""

    def __init__(self, pair: Pair, poll: dict[str, Any], voter: Person | None, ballots: Ballots) -> None:
        self._pair = pair
        self._poll = poll
        self._voter = voter
        self._ballots = ballots
        self._ballot = 0
        self.socket: Socket | None = None
        self.codes: list[int] = []

    async def run(self, stop: asyncio.Event) -> None:
        failures, delays = 0, {"minDelay": 0.5, "maxDelay": 30.0}
        while not stop.is_set():
            try:
                async with bare_socket(random.choice(self._pair.both), self._voter) as sock:
                    welcome = await sock.either("WELCOME")
                    delays = welcome["reconnect"]
                    await sock.join(self._poll)
                    self.socket, failures = sock, 0
                    await self._stay(sock, stop)
                    if stop.is_set():
                        return
            except (OSError, WebSocketException):
                pass
            except AssertionError:
                if self.socket is None and sock.is_open:
                    raise
            if sock.connection.close_code:
                self.codes.append(sock.connection.close_code)
            self.socket = None
            delay = min(delays["maxDelay"], delays["minDelay"] * 2**failures)
            failures += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), random.uniform(0, delay))

    async def _stay(self, sock: Socket, stop: asyncio.Event) -> None:
        ended = asyncio.create_task(stop.wait())
        try:
            while self._voter is not None and self._ballot < 64 and not stop.is_set():
                ballot = f"b{self._ballot}"
                self._ballots.unknown.add((self._voter.token, ballot))
                answer = await sock.vote(self._poll["id"], self._ballots.choice(ballot), id=ballot)
                self._ballots.note(self._voter.token, ballot, answer)
                self._ballot += answer.code is None
                await asyncio.wait([ended], timeout=0.1)  # a rate of votes
            closed = asyncio.create_task(sock.closed(120))
            await asyncio.wait([ended, closed], return_when=asyncio.FIRST_COMPLETED)
            closed.cancel()
        finally:
            ended.cancel()


@pytest.mark.timeout(240)
async def test_a_rolling_restart_under_load_brings_all_back_and_loses_no_vote(own: OwnPair) -> None:
    async with own() as pair:
        poll = await pair.via_a.poll(await pair.via_a.user(), guests=True, allowChange=True)
        guests = await pair.via_a.guests(30)
        ballots = Ballots(poll)
        stop = asyncio.Event()
        clients = [Client(pair, poll, guest, ballots) for guest in [*guests, *[None] * 170]]
        running = [asyncio.create_task(client.run(stop)) for client in clients]

        async def back() -> int:
            for task in running:
                if task.done():
                    task.result()
            return sum(client.socket is not None and client.socket.is_open for client in clients)

        try:
            await eventually(back, lambda number: number == 200, 20, "200 clients")
            for server in pair.both:
                before = len(ballots.acked)
                began = time.monotonic()
                await asyncio.to_thread(server.stop)
                down = time.monotonic() - began
                await asyncio.to_thread(server.start)
                up = time.monotonic() - began
                # Whoever found the other one away a few times in a row waits up to ``maxDelay`` by the contract.
                await eventually(back, lambda number: number == 200, 30 + 15, "all back")
                print(
                    f"down in {down:.1f} s, up after {up:.1f} s, all 200 back after {time.monotonic() - began:.1f} s; "
                    f"{len(ballots.acked) - before} acked meanwhile"
                )
            sockets = [client.socket for client in clients if client.socket is not None]
            await sockets[0].viewers(poll, 200, 10)
            for client in clients:
                assert set(client.codes) <= {1012}, client.codes
            assert sum(len(client.codes) for client in clients) >= 200
        finally:
            stop.set()
            await asyncio.gather(*running)
        for voter, ballot in list(ballots.unknown):
            ballots.note(
                voter, ballot, await pair.via_a.vote(voter, poll["id"], ballots.choice(ballot), id=ballot)
            )
        for (voter, ballot), answer in ballots.acked.items():
            (await pair.via_b.vote(voter, poll["id"], ballots.choice(ballot), id=ballot)).repeats(
                Answer(None, answer.body | {"repeated": True})
            )
        await agrees(pair, ballots, [])
