"""The ledger port on Redis. Every call runs one script on one partition."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from ....domain.ballots import Ballot, BallotRow, CurrentVote, Lease, LoadedBallots, PollState, Receipt
from ....domain.commitments import Commitment
from ....domain.errors import PollroomError, unavailable
from ....domain.polls import Rules
from ....ports.ledger import TryAgain
from ....utils import logger
from ..connection.client import REFUSED, SILENT
from ..connection.clock import RedisClock
from ..connection.cluster import Client
from ..connection.keys import Keys
from ..connection.pipe import Pipe
from ..connection.poll_state import parse_state
from ..connection.scripts import Scripts
from .ballot_queue import Load
from .batch import Counts
from .batcher import Batcher
from .cluster_batcher import Partitions
from .codec import pack_ballots, pack_rules, parse_vote

LEASE_MS = 2_500
"""Whoever finishes what a dead process began waits this long: a deck's move is finished within 5 s."""
GIVE_UP_SECONDS = 3.0
RETRY_SECONDS = 0.05

ABSENT = ("absent", "stale")

_encode = msgspec.msgpack.encode
_log = logger.get(__name__)


class RedisLedger:
    def __init__(
        self,
        client: Client,
        keys: Keys,
        clock: RedisClock,
        *,
        queued_ballots: int,
        publish: str = "PUBLISH",
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._publish = publish
        self._scripts = Scripts(client)
        self.generations: dict[int, int] = dict.fromkeys(range(keys.partitions), 1)
        self.counts = Counts()

        def batcher(key: str, limit: int) -> Batcher:
            return Batcher(
                self._scripts,
                Pipe(client, key),
                keys,
                clock,
                self.generations,
                limit=limit,
                publish=publish,
                counts=self.counts,
            )

        self.batcher: Batcher | Partitions = (
            Partitions(batcher, keys, queued_ballots)
            if client.independent_partitions
            else batcher("", queued_ballots)
        )
        self._verifying: dict[int, asyncio.Task[None]] = {}
        self._expiring: set[asyncio.Task[None]] = set()
        self._runs = False
        self._load: Callable[[str], Awaitable[None]]
        self._verify: Callable[[int], Awaitable[None]]

    async def run(
        self,
        load: Callable[[str], Awaitable[None]],
        absent: Load,
        verify: Callable[[int], Awaitable[None]],
    ) -> None:
        """Deliver ballots until cancelled.

        ``load`` installs an absent poll for a read. ``absent`` installs it for ballots, or answers them. ``verify`` verifies a
        partition and writes its fence.
        """
        self._load, self._verify = load, verify
        self._runs = True
        try:
            await self.batcher.run(absent, self._see_to)
        finally:
            self._runs = False
            beside = [*self._verifying.values(), *self._expiring]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def cast(self, ballot: Ballot) -> "asyncio.Future[Receipt]":
        return self.batcher.cast(ballot)

    async def _see_to(self, partition: int) -> None:
        """Verify a partition in the background: the verifier needs the database and may take a minute."""
        if partition not in self._verifying:
            self._verifying[partition] = asyncio.create_task(self._verify_now(partition))

    async def _verify_now(self, partition: int) -> None:
        try:
            await self._verify(partition)
        except Exception as error:
            _log.warning("partition not verified", partition=partition, error=repr(error)[:200])
        finally:
            del self._verifying[partition]

    async def read(self, poll_id: str, voter_id: str | None = None) -> tuple[PollState, CurrentVote | None]:
        reply = await self._call("read", poll_id, _encode([voter_id] if voter_id else []), load=True)
        vote = reply[2][0] if reply[2] else None
        return parse_state(poll_id, reply[1]), parse_vote(vote) if vote else None

    async def accepted(self, poll_id: str, voter_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(voter_ids), 1000):
            chunk = voter_ids[start : start + 1000]
            reply = await self._call("read", poll_id, _encode(chunk), load=True)
            found |= {voter for voter, raw in zip(chunk, reply[2], strict=True) if raw and raw[4]}
        return found

    async def peek(self, poll_ids: Sequence[str]) -> dict[str, PollState]:
        calls = [self._arguments(poll_id, _encode([])) for poll_id in poll_ids]
        try:
            replies = await self._scripts.pipeline("read", calls) if calls else []
        except (*SILENT, *REFUSED) as error:
            raise unavailable() from error
        states: dict[str, PollState] = {}
        failure: PollroomError | None = None
        for poll_id, reply in zip(poll_ids, replies, strict=True):
            if isinstance(reply, Exception) or reply[0] == "fenced":
                reply = await self._call("read", poll_id, _encode([]))
            if reply[0] == "stale" and failure is None:
                try:
                    reply = await self._renewed(poll_id)
                except PollroomError as error:
                    failure = error if error.code == "UNAVAILABLE" else None
            if reply[0] == "ok":
                states[poll_id] = parse_state(poll_id, reply[1])
        if failure is not None and not states:
            raise failure
        return states

    async def _renewed(self, poll_id: str) -> list[Any]:
        """Read a stale poll after installing its rules again. Its ballots are already in Redis."""
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                return await self._call("read", poll_id, _encode([]), load=True)
        except TimeoutError as error:
            raise unavailable() from error

    async def lease(self, poll_id: str) -> Lease:
        token = secrets.token_urlsafe(9)
        try:
            reply = await self._once("lease", poll_id, token, LEASE_MS)
        except (TryAgain, asyncio.CancelledError) as error:
            if isinstance(error.__cause__, SILENT) or isinstance(error, asyncio.CancelledError):
                self._end_lease(poll_id, token)
            raise
        state = parse_state(poll_id, reply[2]) if reply[2] else None
        return Lease(poll_id, token, reply[1], state)

    def _end_lease(self, poll_id: str, token: str) -> None:
        """Expire a lease in the background after its reply was lost. A lease granted later expires by itself."""
        if self._runs:
            task = asyncio.create_task(self._expire_lease(poll_id, token))
            self._expiring.add(task)
            task.add_done_callback(self._expiring.discard)

    async def _expire_lease(self, poll_id: str, token: str) -> None:
        try:
            await self._call("expire_lease", poll_id, token)
        except PollroomError as error:
            _log.warning("lease not ended", poll=poll_id, error=repr(error)[:200])

    async def load_ballots(self, lease: Lease, rules: Rules, rows: Sequence[BallotRow]) -> None:
        """Store up to 2,000 ballots for an absent, leased poll. Raises ``TryAgain`` if the lease was lost."""
        packed = pack_ballots(rules, rows)
        reply = await self._call("load_ballots", lease.poll_id, lease.token, LEASE_MS, *packed, extra=lease)
        if reply[0] == "busy":
            raise TryAgain

    async def install_rules(
        self,
        lease: Lease,
        rules: Rules,
        *,
        new_times: bool = False,
        loaded: LoadedBallots | None = None,
        commitment: Commitment | None = None,
    ) -> tuple[PollState, bool]:
        body = pack_rules(rules, new_times, loaded, commitment)
        reply = await self._call("install_rules", lease.poll_id, lease.token, body, extra=lease)
        if reply[0] == "busy":
            raise TryAgain
        return parse_state(lease.poll_id, reply[1]), reply[2]

    async def release(self, lease: Lease) -> None:
        await self._call("install_rules", lease.poll_id, lease.token, "", extra=lease)

    async def close(self, poll_id: str) -> PollState:
        return parse_state(poll_id, (await self._call("close", poll_id, load=True))[1])

    async def delete(self, poll_id: str) -> PollState:
        return parse_state(poll_id, (await self._call("delete", poll_id, load=True))[1])

    async def recount(self, poll_id: str) -> PollState | None:
        reply = await self._call("recount", poll_id)
        return parse_state(poll_id, reply[1]) if reply[0] == "ok" else None

    async def publish_commitment(self, poll_id: str, commitment: Commitment) -> PollState | None:
        reply = await self._call("publish_commitment", poll_id, commitment.packed)
        if reply[0] == "stale":
            await self._load(poll_id)
            reply = await self._call("publish_commitment", poll_id, commitment.packed)
        if reply[0] in ("busy", "stale"):
            raise unavailable()
        return parse_state(poll_id, reply[1]) if reply[0] == "ok" else None

    async def _call(
        self,
        script: str,
        poll_id: str,
        *args: str | bytes | int,
        load: bool = False,
        extra: Lease | None = None,
    ) -> list[Any]:
        """Run a script, and retry without a reply for up to 3 s. All scripts are safe to repeat."""
        until = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                reply = await self._once(script, poll_id, *args, extra=extra)
                if reply[0] not in ABSENT or not load:
                    return reply
                await self._load(poll_id)
            except TryAgain as busy:
                if time.monotonic() > until:
                    raise unavailable() from busy
                await asyncio.sleep(RETRY_SECONDS)

    def _arguments(
        self, poll_id: str, *args: str | bytes | int, extra: Lease | None = None
    ) -> tuple[list[str], list[str | bytes | int]]:
        """``extra``: the lease whose token names the loaded ballots."""
        partition = self._keys.partition(poll_id)
        generation = self.generations[partition]
        keys = [self._keys.fence(partition), self._keys.log(partition, generation), *self._keys.poll(poll_id)]
        if extra is not None:
            keys.append(self._keys.loaded(poll_id, extra.token))
        return keys, [generation, self._publish, poll_id, *args]

    async def _once(
        self, script: str, poll_id: str, *args: str | bytes | int, extra: Lease | None = None
    ) -> list[Any]:
        """Raises ``TryAgain`` for temporary failures, and the code of the contract if the script refuses."""
        partition = self._keys.partition(poll_id)
        asked = time.monotonic()
        try:
            reply = await self._scripts.call(script, *self._arguments(poll_id, *args, extra=extra))
        except SILENT as error:
            raise TryAgain from error
        except REFUSED as error:
            raise unavailable() from error
        match reply[0]:
            case "fenced":
                if reply[1]:
                    self.generations[partition] = reply[1]
                else:
                    await self._see_to(partition)
                raise TryAgain
            case "busy":
                if script == "lease":
                    raise TryAgain
            case "ok":
                if reply[1]:
                    self._clock.heard(reply[1][0] if isinstance(reply[1], list) else reply[1], asked)
            case "POLL_NOT_OPEN" | "NOT_FOUND":
                raise PollroomError(reply[0])
        return reply
