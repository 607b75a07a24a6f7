"""Ballots of the vote log on to a topic, for others. SQL is never fed from there.

The relay has a place of its own in each partition. It reads the log from there, sends what SQL has, too, and moves on once
the topic has taken it; a crash in between sends the same again. Where it has lost its place (it was too slow, the log began
anew, SQL was put back to a backup) it takes SQL's place, and sends what lies before it from SQL's rows: of each poll the
ballots after the last one that was sent.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from ...domain.ballots import BallotRow, LogEntry
from ...domain.errors import BadRow, DuplicateKey
from ...domain.log_position import LogPlace, LogPosition
from ...domain.values import rfc3339
from ...ports.database import Database
from ...ports.ledger import Fences
from ...ports.messaging import Message, Topic
from ...ports.vote_log import VoteLog
from ...repositories import ballots as model
from ...repositories import relay_offsets as readers
from ...repositories.relay_offsets import KAFKA, LOST, READS, RESENDS, SQL, Behind, Position
from ...utils import logger
from .recorder import StaleOffset, content

VERSION: Final = 1
MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 1 << 20
CHUNK: Final = 1000
POLLS: Final = 100
VOTER_BYTES: Final = 16

log = logger.get(__name__)


class RelayedBallot(Struct, frozen=True, rename="camel"):
    """A message, as JSON. docs/kafka.md says what each field is."""

    v: int
    poll: str
    voter: str
    epoch: int
    seq: int
    n: int
    option_ids: list[str]
    retracted: bool
    at: str
    resent: bool


_encode: Final = msgspec.json.Encoder().encode


class Relaying:
    """``partition_of``: of a poll. ``secret``: what pseudonyms of voters are made with."""

    def __init__(
        self,
        database: Database,
        votes: VoteLog,
        fences: Fences,
        topic: Topic,
        partition_of: Callable[[str], int],
        partitions: int,
        secret: bytes,
    ) -> None:
        self._database = database
        self._votes = votes
        self._fences = fences
        self._topic = topic
        self._partition_of = partition_of
        self._partitions = partitions
        self._secret = secret
        # Partition -> places that this process itself has come to.
        self._reached: dict[int, LogPlace] = {}

    async def register(self) -> None:
        """Before the first reading: from its first place on the log is kept for the relay."""
        known = {p.partition for p in await readers.positions(self._database) if p.reader == KAFKA}
        for partition in range(self._partitions):
            if partition not in known:
                with suppress(DuplicateKey):  # another process was faster
                    await readers.create(self._database, partition)

    async def due(self, partitions: frozenset[int]) -> list[int] | None:
        """Those where there is something to do; none where the relay was removed."""
        found = await readers.positions(self._database)
        sql = {p.partition: p for p in found if p.reader == SQL}
        relays = [p for p in found if p.reader == KAFKA]
        if not relays:
            return None
        return [
            at.partition
            for at in relays
            if at.partition in partitions and (at.gap != READS or _place(at) != _place(sql[at.partition]))
        ]

    async def step(self, partition: int) -> None:
        """Do what is next in a partition, a bounded piece of the log or everything that lies before its place.

        Raises ``UNAVAILABLE`` for what may pass, ``StaleOffset`` where another relay was faster.
        """
        sql, at = await self._positions(partition)
        if at.gap != READS:
            self._reached.pop(partition, None)
            await self._topic.ready()  # no place is kept for one that cannot send
            if at.gap == LOST:
                await self._take_place(partition)
            else:
                await self._resend(at)
        elif at.generation != sql.generation or await self._lost(at):
            if await readers.lose(self._database, at):
                log.warning("the relay to Kafka lost its place in the log", partition=partition)
        else:
            await self._send_on(at)

    async def _send_on(self, at: Position) -> None:
        place = {at.partition: _place(at)}
        entries = (await self._votes.read(place, MAX_ENTRIES, 0)).get(at.partition, [])
        # After the log: who trims it without us has said so before. And only what SQL has is sent.
        sql, still = await self._positions(at.partition)
        if still != at or sql.generation != at.generation:
            raise StaleOffset
        batch = _bounded(entries, sql.last_id)
        if not batch:  # what SQL counts from, or what the ledger has lost: a new generation follows
            await readers.advance(self._database, at, sql.last_id, sql.passed - at.passed)
            return
        messages, seqs = [], dict[str, int]()
        for entry in batch:
            try:
                item = content(entry)
            except BadRow:  # SQL has it as a dead letter
                log.error("an entry is not relayed", partition=at.partition, entry=str(entry.id))
                continue
            seqs[item.poll_id] = max(item.seq, seqs.get(item.poll_id, 0))
            if isinstance(item, BallotRow):
                messages.append(self._message(item, resent=False))
        await self._topic.send(at.partition, messages)
        last_id = batch[-1].id
        async with self._database.transaction() as q:
            if not await readers.advance(q, at, last_id, len(batch)):
                raise StaleOffset
            await readers.raise_sent(q, seqs)
        self._reached[at.partition] = LogPlace(at.generation, last_id)
        await self._votes.trim(at.partition, at.generation, last_id)

    async def _lost(self, at: Position) -> bool:
        """Whether the log was trimmed beyond: SQL is a backup, and so is our place. Asked for places of others only."""
        if self._reached.get(at.partition) == _place(at):
            return False
        fence = await self._fences.inspect(at.partition)
        if fence.generation == at.generation:
            if fence.trimmed > at.last_id:
                return True
            self._reached[at.partition] = _place(at)
        return False

    async def _take_place(self, partition: int) -> None:
        async with self._database.transaction() as q:
            sql = await model.lock_offset(q, SQL, partition)
            if sql is None:
                raise StaleOffset
            await readers.place(q, partition, sql.generation, sql.last_id, sql.passed)

    async def _resend(self, at: Position) -> None:
        """What lies before the place, from SQL. After a crash it goes on with the poll where it was."""
        after, polls = "", 0
        while page := await readers.behind(self._database, after, POLLS):
            for poll in page:
                if self._partition_of(poll.id) == at.partition:
                    await self._resend_poll(at.partition, poll)
                    polls += 1
            after = page[-1].id
        if not await readers.resume(self._database, at):
            raise StaleOffset
        log.info("the relay to Kafka has sent what it missed", partition=at.partition, polls=polls)

    async def _resend_poll(self, partition: int, poll: Behind) -> None:
        voter = ""
        # The seq that was sent last, too: taking back nothing takes none.
        while rows := await readers.ballots_from(self._database, poll.id, poll.sent, voter, CHUNK):
            await self._topic.send(partition, [self._message(row, resent=True) for row in rows])
            voter = rows[-1].voter_id
        async with self._database.transaction() as q:
            await readers.raise_sent(q, {poll.id: poll.seq})

    async def _positions(self, partition: int) -> tuple[Position, Position]:
        found = await readers.of_partition(self._database, partition)
        if SQL not in found or KAFKA not in found:
            raise StaleOffset
        return found[SQL], found[KAFKA]

    def _message(self, row: BallotRow, *, resent: bool) -> Message:
        said = RelayedBallot(
            VERSION,
            row.poll_id,
            pseudonym(self._secret, row.poll_id, row.voter_id),
            row.epoch,
            row.seq,
            row.n,
            row.option_ids,
            not row.choices,
            rfc3339(row.cast_at),
            resent,
        )
        return row.poll_id.encode(), _encode(said)


def pseudonym(secret: bytes, poll_id: str, voter_id: str) -> str:
    """Of a voter in a poll: the same in each of its messages, and another one in every other poll."""
    digest = hmac.digest(secret, f"{poll_id}\0{voter_id}".encode(), "sha256")
    return urlsafe_b64encode(digest[:VOTER_BYTES]).decode().rstrip("=")


async def lag(database: Database) -> str:
    """How far the relay is behind SQL, for people."""
    found = await readers.positions(database)
    sql = {p.partition: p for p in found if p.reader == SQL}
    relays = [p for p in found if p.reader == KAFKA]
    if not relays:
        return "no relay has begun"
    text = f"{sum(max(0, sql[p.partition].passed - p.passed) for p in relays)} entries behind SQL"
    for gap, words in ((LOST, "have a gap"), (RESENDS, "are sent anew from SQL")):
        if count := sum(p.gap == gap for p in relays):
            text += f", {count} of {len(relays)} partitions {words}"
    return text


def _place(at: Position) -> LogPlace:
    return LogPlace(at.generation, at.last_id)


def _bounded(entries: Sequence[LogEntry], last_id: LogPosition) -> list[LogEntry]:
    """Those up to ``last_id``, as far as ``MAX_BYTES`` reach; one at least where there is any."""
    batch: list[LogEntry] = []
    size = 0
    for entry in entries:
        size += len(entry.payload)
        if entry.id > last_id or (batch and size > MAX_BYTES):
            break
        batch.append(entry)
    return batch
