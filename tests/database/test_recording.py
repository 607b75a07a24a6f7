"""The worker's recording: batches of the vote log in one transaction with the offset, poison told from outage."""

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.adapters.redis.ledger import log_codec
from app.adapters.sql.database import Session, SqlDatabase
from app.domain.ballots import BallotRow, LogEntry
from app.domain.errors import PollroomError
from app.domain.log_position import NOTHING, LogPosition
from app.repositories import ballots as model
from app.repositories import polls
from app.services.vote_log.recorder import Recorder, StaleOffset
from tests.database.test_models import add, rules

BASE = 1_700_000_000_000


def logged(id: LogPosition, payload: bytes) -> LogEntry:
    return LogEntry(id, payload, log_codec.decode(payload, 1))


def entry(number: int, *content: Any) -> LogEntry:
    return logged(LogPosition(BASE + number, 0), msgspec.msgpack.encode(content))


def ballot(number: int, voter: str, n: int = 1, poll: str = "p", **changes: Any) -> LogEntry:
    fields = {"choices": ["o1"], "retract": False, "seq": number, "earlier": []} | changes
    return entry(
        number,
        "b",
        poll,
        voter,
        n,
        f"id{n}",
        fields["retract"],
        fields["choices"],
        fields["seq"],
        BASE + number,
        True,
        fields["earlier"],
    )


@pytest.fixture
def recorder(database: SqlDatabase) -> Recorder:
    return Recorder(database)


async def last_id(database: SqlDatabase) -> LogPosition:
    offset = await model.offset(database, "sql", 0)
    assert offset is not None
    return offset.last_id


async def test_a_batch_becomes_rows_changes_and_the_offset(database: SqlDatabase, recorder: Recorder) -> None:
    poll = await add(database, rules(closes_at=9))
    past = [["id1", False, ["o1", "o2"], 1, BASE + 1]]
    entries = [
        ballot(1, "v", 1, poll.id, choices=["o1", "o2"]),
        ballot(2, "w", 1, poll.id),
        ballot(3, "v", 2, poll.id, retract=True, choices=[], earlier=past),
        entry(4, "p", "edit", poll.id, 4, BASE),
        entry(5, "p", "close", poll.id, 5, BASE + 5),
    ]
    await recorder.record(0, 1, NOTHING, entries)
    assert await model.ballots_after(database, poll.id, "", 10) == [
        BallotRow(
            poll.id,
            "v",
            2,
            "id2",
            "",
            3,
            1,
            BASE + 3,
            True,
            msgspec.json.encode(past).decode(),
        ),
        BallotRow(poll.id, "w", 1, "id1", "o1", 2, 1, BASE + 2, True, "[]"),
    ]
    found = await polls.find(database, poll.id)
    assert found is not None
    assert (found.seq, found.closed_at, found.closes_at) == (5, BASE + 5, BASE + 5)
    assert await last_id(database) == entries[-1].id


async def test_numbers_may_come_as_floats_and_booleans_as_numbers(
    database: SqlDatabase, recorder: Recorder
) -> None:
    await recorder.record(0, 1, NOTHING, [entry(1, "b", "p", "v", 1.0, "id", 1, [], 7.0, float(BASE), 0, [])])
    assert await model.ballots_after(database, "p", "", 10) == [
        BallotRow("p", "v", 1, "id", "", 7, 1, BASE, False, "[]")
    ]


async def test_a_stale_worker_changes_nothing(database: SqlDatabase, recorder: Recorder) -> None:
    await recorder.record(0, 1, NOTHING, [ballot(1, "v")])
    for generation, old_id in ((1, NOTHING), (2, LogPosition(BASE + 1, 0))):
        with pytest.raises(StaleOffset):
            await recorder.record(0, generation, old_id, [ballot(2, "w")])
    assert len(await model.ballots_after(database, "p", "", 10)) == 1
    assert await last_id(database) == LogPosition(BASE + 1, 0)


async def test_of_many_workers_with_one_batch_one_stores_it(
    database: SqlDatabase, recorder: Recorder
) -> None:
    answers = await asyncio.gather(
        *(recorder.record(0, 1, NOTHING, [ballot(1, "v")]) for _ in range(5)), return_exceptions=True
    )
    assert [type(a).__name__ for a in answers].count("StaleOffset") == 4
    assert [a for a in answers if a is None] == [None]


POISON = [
    b"\xc1 not msgpack",
    b"",
    msgspec.msgpack.encode(["b", "p", "poison"]),
    msgspec.msgpack.encode(["x"]),
    msgspec.msgpack.encode({"b": 1}),
    msgspec.msgpack.encode(["b", "p", "poison", 1.5, "i", False, ["o"], 1, 1, True, []]),
    msgspec.msgpack.encode(["p", "explode", "p", 1, 1]),
    # Beyond the column.
    msgspec.msgpack.encode(["b", "p", "poison", 2**64 - 1, "i", False, ["o"], 1, 1, True, []]),
    b"\x91" * 5000 + b"\x01",
]


@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
@pytest.mark.parametrize("at", [0, 6, 12])
async def test_poison_is_buried_and_holds_up_nothing(
    database: SqlDatabase, recorder: Recorder, poison: bytes, at: int
) -> None:
    entries = [ballot(n, f"v{n:02d}") for n in range(13)]
    entries[at] = logged(entries[at].id, poison)
    await recorder.record(0, 1, NOTHING, entries)
    stored = await model.ballots_after(database, "p", "", 100)
    assert [row.voter_id for row in stored] == [f"v{n:02d}" for n in range(13) if n != at]
    assert await last_id(database) == entries[-1].id
    (poll_id,) = await model.dead_letters_by_poll(database)
    assert poll_id == ("p" if b"\xa1p" in poison and poison[:1] != b"\x81" else "")
    (letter,) = await model.dead_letters(database, poll_id, 10)
    assert b64decode(letter["entry"]) == poison
    assert (letter["entry_id"], letter["partition"], letter["created_at"]) == (
        str(entries[at].id),
        0,
        BASE + at,
    )


UNFIT: list[dict[str, Any]] = [
    {"poll": "p" * 65},
    {"poll": "p" + " " * 64},
    {"poll": "pö"},
    {"voter": "v" * 65},
    # The server itself would cut the spaces off, and only note it.
    {"voter": "v" + " " * 64},
    {"voter": "v\ud7ff"},
    {"n": 2**63},
    {"n": -(2**63) - 1},
    {"id": "i" * 65},
    {"id": "i" + " " * 64},
    {"id": "ï"},
    {"choices": ["o" * 40_000, "o" * 40_000]},
    {"choices": ["o", " " * 70_000]},
    {"seq": 2**63},
    {"cast_at": 2**63},
    {"accepted": 2},
    {"earlier": [["i" * 65, False, ["o"], 1, 1]]},
    {"earlier": [["i", False, ["o" * 65], 1, 1]]},
    {"earlier": [["i", False, ["o"], 2**63, 1]]},
]


@pytest.mark.parametrize("unfit", UNFIT, ids=lambda unfit: next(iter(unfit)))
async def test_what_a_column_cannot_hold_is_buried_and_never_altered(
    mariadb_url: str, unfit: dict[str, Any]
) -> None:
    fields = {
        "poll": "p",
        "voter": "v",
        "n": 1,
        "id": "i",
        "retract": False,
        "choices": ["o"],
        "seq": 1,
        "cast_at": BASE,
        "accepted": True,
        "earlier": [],
    } | unfit
    payload = msgspec.msgpack.encode(["b"])[1:] + b"".join(map(packed, fields.values()))
    entries = [ballot(1, "a"), logged(LogPosition(BASE + 2, 0), bytes([0x90 + 1 + len(fields)]) + payload)]
    async with SqlDatabase(mariadb_url) as database:
        await database.migrate(1)
        await Recorder(database).record(0, 1, NOTHING, [*entries, ballot(3, "z")])
        async with database.transaction() as q:
            assert isinstance(q, Session)
            rows = await q.fetch("SELECT poll_id, voter_id FROM ballots ORDER BY voter_id")
        assert rows == [{"poll_id": "p", "voter_id": "a"}, {"poll_id": "p", "voter_id": "z"}]
        (letter,) = await model.oldest_dead_letters(database, "", 10)
        assert letter["entry_id"] == str(entries[1].id)
        assert await last_id(database) == LogPosition(BASE + 3, 0)


def packed(value: object) -> bytes:
    """Also a number beyond what msgpack has, as the float that a script makes of it."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        assert isinstance(value, int)
        return msgspec.msgpack.encode(float(value))


@pytest.mark.parametrize(
    "unfit", [("{id}", 2**63, BASE), ("{id}", -1, BASE), ("{id}", 7, 2**63), ("{id}x", 7, BASE)]
)
async def test_a_change_that_its_columns_cannot_hold_is_buried_and_changes_nothing(
    database: SqlDatabase, recorder: Recorder, unfit: tuple[str, int, int]
) -> None:
    poll = await add(database, msgspec.structs.replace(rules(), id="p" * 64))
    id, seq, at = unfit
    await recorder.record(0, 1, NOTHING, [entry(1, "p", "close", id.format(id=poll.id), seq, at)])
    found = await polls.find(database, poll.id)
    assert found is not None
    assert (found.seq, found.closed_at) == (poll.seq, None)
    assert await model.dead_letters_by_poll(database) == {"": 1}


async def test_the_largest_that_fits_is_stored_as_it_is(database: SqlDatabase, recorder: Recorder) -> None:
    most = 2**63 - 1
    id, choices = "i" * 64, ["o" * 64] * 100
    await recorder.record(
        0, 1, NOTHING, [entry(1, "b", id, id, most, id, False, choices, most, most, True, [])]
    )
    assert await model.ballots_after(database, id, "", 10) == [
        BallotRow(id, id, most, id, ",".join(choices), most, 1, most, True, "[]")
    ]


async def test_only_poison(database: SqlDatabase, recorder: Recorder) -> None:
    await recorder.record(0, 1, NOTHING, [logged(LogPosition(BASE + n, 0), b"\xc1") for n in range(5)])
    assert await last_id(database) == LogPosition(BASE + 4, 0)
    assert await model.dead_letters_by_poll(database) == {"": 5}


async def test_an_outage_is_not_poison(tmp_path: Path) -> None:
    """A full disk: the batch is refused whole, and stored once there is room."""
    async with SqlDatabase(f"sqlite+aiosqlite:///{tmp_path}/test.db") as database:
        await database.migrate(1)
        recorder = Recorder(database)
        entries = [ballot(n, f"v{n}", choices=["o" * 64] * 3) for n in range(500)]
        async with database._connection(writes=False) as connection:
            size = (await connection.fetch("PRAGMA page_count", {}))[0]["page_count"]
            await connection.fetch(f"PRAGMA max_page_count = {size}", {})
        with pytest.raises(PollroomError) as caught:
            await recorder.record(0, 1, NOTHING, entries)
        assert caught.value.code == "UNAVAILABLE"
        assert await model.dead_letters_by_poll(database) == {}
        assert await last_id(database) == NOTHING
        await recorder.record(0, 1, NOTHING, entries)
        assert len(await model.ballots_after(database, "p", "", 1000)) == 500


async def test_a_lock_that_somebody_holds_is_an_outage(mariadb_url: str) -> None:
    async with SqlDatabase(mariadb_url) as database:
        await database.migrate(1)
        await Recorder(database).record(0, 1, NOTHING, [ballot(1, "v")])
        async with database.transaction() as q:
            assert isinstance(q, Session)
            await q.fetch("SELECT * FROM ballots FOR UPDATE")
            with pytest.raises(PollroomError) as caught:
                await Recorder(database).record(0, 1, LogPosition(BASE + 1, 0), [ballot(2, "v", 2)])
        assert caught.value.code == "UNAVAILABLE"
        assert await last_id(database) == LogPosition(BASE + 1, 0)
        assert await model.dead_letters_by_poll(database) == {}
