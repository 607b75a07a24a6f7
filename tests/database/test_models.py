"""What the models promise beyond their queries, on both databases."""

import asyncio

import msgspec
import pytest

from app.adapters.sql.database import SqlDatabase
from app.domain.ballots import BallotRow, PollChange
from app.domain.errors import DuplicateKey
from app.domain.log_position import NOTHING, LogPosition
from app.domain.poll_kinds import KINDS
from app.domain.polls import Option, Rules
from app.domain.users import User
from app.domain.values import new_id
from app.repositories import ballots as votes
from app.repositories import polls, users


def rules(code: str = "ABCDEF", owner: str = "owner", **changes: object) -> Rules:
    made = Rules(
        id=new_id(),
        code=code,
        owner_id=owner,
        version=1,
        seq=0,
        question="Which? 🗳️",
        description=None,
        options=(Option("1", "Yes"), Option("0", "No", "image")),
        min_choices=1,
        max_choices=1,
        results_visibility="always",
        allow_change=True,
        guests=False,
        draft=False,
        opens_at=None,
        closes_at=None,
        closed_at=None,
        deleted_at=None,
        created_at=1_700_000_000_123,
    )
    return msgspec.structs.replace(made, **changes)


async def add(database: SqlDatabase, poll: Rules, key: str | None = None) -> Rules:
    async with database.transaction() as q:
        await polls.insert(q, poll, key)
    return poll


def ballot(n: int, choices: str = "1", voter: str = "v", **changes: object) -> BallotRow:
    row = BallotRow("p", voter, n, f"id{n}", choices, 10 + n, 1, 1000 + n, n > 1, f"[{n}]")
    return msgspec.structs.replace(row, **changes)


async def test_a_poll_is_read_as_it_was_written(database: SqlDatabase) -> None:
    poll = await add(database, rules(opens_at=1, closes_at=2, description="More", draft=True))
    assert await polls.find(database, poll.id) == poll
    assert await polls.id_of_code(database, poll.code, poll.owner_id) == (poll.id, True)
    assert await polls.id_of_code(database, poll.code, "stranger") is None
    assert await polls.find(database, "nothing") is None
    assert await polls.id_of_code(database, poll.code.lower(), poll.owner_id) is None
    async with database.transaction() as q:
        assert await polls.lock(q, poll.id) == poll
        assert await polls.lock(q, "nothing") is None


async def test_codes_and_request_keys_are_unique_per_owner(database: SqlDatabase) -> None:
    first = await add(database, rules("AAAAAA"), "key")
    with pytest.raises(DuplicateKey):
        await add(database, rules("AAAAAA"))
    with pytest.raises(DuplicateKey):
        await add(database, rules("BBBBBB"), "key")
    other = await add(database, rules("BBBBBB", owner="other"), "key")
    await add(database, rules("CCCCCC"), "KEY")
    await add(database, rules("DDDDDD"))
    await add(database, rules("EEEEEE"))
    assert await polls.find_by_key(database, "owner", "key") == first
    assert await polls.find_by_key(database, "other", "key") == other
    await polls.forget_key(database, first.id)
    assert await polls.find_by_key(database, "owner", "key") is None
    assert await polls.find(database, first.id) == first


async def test_an_edit_replaces_rules_and_options_but_not_what_the_ledger_owns(database: SqlDatabase) -> None:
    poll = await add(database, rules())
    await votes.raise_seq(database, {poll.id: 7})
    edited = msgspec.structs.replace(
        poll, version=2, seq=99, question="New?", options=(Option("2", "c"), Option("1", "Yes")), closes_at=5
    )
    async with database.transaction() as q:
        await polls.update(q, edited)
    assert await polls.find(database, poll.id) == msgspec.structs.replace(edited, seq=7)


async def test_pages_are_newest_first_without_deleted_ones(database: SqlDatabase) -> None:
    made = [await add(database, rules(f"CODE{n}Z")) for n in range(5)]
    await add(database, rules("OTHERS", owner="other"))
    await votes.apply(database, [PollChange("delete", made[2].id, 1, 50)])
    first = await polls.page(database, "owner", None, 3)
    assert [poll.id for poll in first] == [made[4].id, made[3].id, made[1].id]
    assert await polls.page(database, "owner", first[-1].id, 3) == [made[0]]
    assert await polls.find_many(database, [made[1].id, "nothing", made[0].id]) == [made[1], made[0]]
    assert await polls.find_many(database, []) == []
    assert await polls.poll_ids_after(database, made[0].id, 2) == [made[1].id, made[3].id]


async def test_due_to_close_are_those_past_their_end_and_not_closed(database: SqlDatabase) -> None:
    due = await add(database, rules("DUE222", closes_at=100))
    latest = await add(database, rules("DUE333", closes_at=200))
    closed = await add(database, rules("CLOSED", closes_at=100))
    await add(database, rules("LATER2", closes_at=201))
    await add(database, rules("NEVER2"))
    await add(database, rules("DRAFT2", closes_at=100, draft=True))
    gone = await add(database, rules("GONE22", closes_at=100))
    await votes.apply(
        database, [PollChange("close", closed.id, 1, 100), PollChange("delete", gone.id, 1, 90)]
    )
    assert await polls.due_to_close(database, 200, 10) == [latest.id, due.id]
    assert await polls.due_to_close(database, 200, 1) == [latest.id]


async def test_the_log_closes_and_deletes_once_and_seq_never_goes_down(database: SqlDatabase) -> None:
    poll = await add(database, rules(closes_at=500), "key")
    changes = [PollChange("edit", poll.id, 3, 10), PollChange("close", poll.id, 5, 300)]
    await votes.apply(database, changes)
    await votes.apply(database, [PollChange("close", poll.id, 4, 400), PollChange("open", poll.id, 2, 1)])
    found = await polls.find(database, poll.id)
    assert found == msgspec.structs.replace(poll, seq=5, closes_at=300, closed_at=300)
    await votes.apply(database, [PollChange("delete", poll.id, 6, 600)])
    await votes.apply(database, [PollChange("delete", poll.id, 6, 700)])
    found = await polls.find(database, poll.id)
    assert found is not None
    assert (found.deleted_at, found.seq) == (600, 6)
    assert await polls.find_by_key(database, "owner", "key") is None
    assert await polls.id_of_code(database, poll.code, poll.owner_id) is None


async def test_seqs_of_many_polls_are_raised_at_once(database: SqlDatabase) -> None:
    made = [await add(database, rules(f"CODE{n}Z", seq=5)) for n in range(3)]
    await votes.raise_seq(database, {made[0].id: 9, made[1].id: 4, "nothing": 7})
    await votes.raise_seq(database, {})
    found = await polls.find_many(database, [poll.id for poll in made])
    assert [poll.seq for poll in found] == [9, 5, 5]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 3)])
async def test_the_ballot_with_the_higher_n_wins_with_all_its_columns(
    database: SqlDatabase, order: tuple[int, ...]
) -> None:
    for n in order:
        await votes.store(database, [ballot(n, choices=f"{n}"), ballot(1, voter=f"other{n}")])
    assert (await votes.ballots_after(database, "p", "t", 10)) == [ballot(3, choices="3")]


async def test_a_recount_leaves_retracted_ballots_out(database: SqlDatabase) -> None:
    assert await votes.chosen(database, "p") == []
    assert not await votes.has_ballots(database, "p")
    rows = [ballot(1, "1", "a"), ballot(1, "1,2", "b"), ballot(1, "2,1", "c"), ballot(2, "", "d", seq=99)]
    await votes.store(database, [*rows, ballot(1, "3", "e", poll_id="q")])
    assert KINDS["choice"].totals(await votes.chosen(database, "p")) == {"voters": 3, "1": 3, "2": 2}
    assert await votes.has_ballots(database, "p")
    first = await votes.ballots_after(database, "p", "", 3)
    assert [*first, *await votes.ballots_after(database, "p", first[-1].voter_id, 3)] == rows


async def test_leases_are_free_own_expired_or_held(database: SqlDatabase) -> None:
    async def take(owner: str, now: int) -> bool:
        return await votes.take_lease(database, "sql", 0, owner, now, now + 10)

    assert await take("a", 100)
    assert await take("a", 101)
    assert not await take("b", 110)
    assert await take("b", 111)
    assert await votes.take_lease_from(database, "sql", 0, "b", "a", 500)
    assert not await votes.take_lease_from(database, "sql", 0, "b", "a", 500)
    assert await votes.renew_leases(database, "sql", "a", 600) == 1
    assert await votes.offset(database, "sql", 0) == votes.Offset(0, 1, NOTHING, None, "a", 600)
    await votes.give_back_leases(database, "sql", "a")
    assert await take("b", 112)
    assert await votes.offset(database, "nobody", 0) is None


async def test_offsets_advance_only_from_where_they_are(database: SqlDatabase) -> None:
    assert await votes.advance(database, "sql", 0, 1, NOTHING, LogPosition(5, 1))
    assert not await votes.advance(database, "sql", 0, 1, NOTHING, LogPosition(6, 1))
    assert not await votes.advance(database, "sql", 0, 2, LogPosition(5, 1), LogPosition(6, 1))
    async with database.transaction() as q:
        found = await votes.lock_offset(q, "sql", 0)
    assert found is not None
    assert found.last_id == LogPosition(5, 1)


async def test_dead_letters_are_listed_in_order_and_counted(database: SqlDatabase) -> None:
    for n in range(3):
        await votes.add_dead_letter(
            database,
            poll_id="p",
            partition=1,
            generation=1,
            entry_id=f"{n}-0",
            entry="eA==",
            error="x" * 2000,
            created_at=n,
        )
    found = await votes.dead_letters(database, "p", 2)
    assert [row["entry_id"] for row in found] == ["0-0", "1-0"]
    assert await votes.count_dead_letters(database, "p") == 3
    assert await votes.count_dead_letters(database, "q") == 0
    assert await votes.dead_letters_by_poll(database) == {"p": 3}


async def test_users_and_sessions(database: SqlDatabase) -> None:
    ada, guest = User("u1", "ada@example.org", "Ada", False, 5), User("u2", None, None, True, 6)
    async with database.transaction() as q:
        await users.insert_user(q, ada, "hash")
        await users.insert_user(q, guest, None)
        await users.insert_user(q, User("u3", None, None, True, 7), None)
        await users.insert_session(q, "s1", "u1", 10, 100)
        await users.insert_session(q, "s2", "u2", 10, 200)
        await users.insert_refresh(q, "t1", "s1", 10)
    with pytest.raises(DuplicateKey):
        await users.insert_user(database, User("u4", "ada@example.org", None, False, 5), "hash")
    assert await users.find_login(database, "ada@example.org") == (ada, "hash")
    assert await users.find_login(database, "nobody@example.org") is None
    assert await users.find_user(database, "u2") == guest
    await users.use_session(database, "s1", 20)
    await users.spend_refresh(database, "t1", 20)
    await users.spend_refresh(database, "t1", 30)
    async with database.transaction() as q:
        row = await users.lock_refresh(q, "t1")
        assert await users.lock_refresh(q, "T1") is None
    assert row is not None
    assert (row["session_id"], row["spent_at"], row["expires_at"], row["revoked_at"]) == ("s1", 20, 100, None)
    assert users.user_of(row) == ada
    assert await users.revoke_session(database, "s1", 40)
    assert not await users.revoke_session(database, "s1", 50)
    assert await users.revoked_since(database, 40) == ["s1"]
    assert await users.revoked_since(database, 41) == []
    async with database.transaction() as q:
        assert await users.remove_expired(q, 101) == 1
        assert await users.lock_refresh(q, "t1") is None
    assert await users.find_session(database, "s1") is None
    session = await users.find_session(database, "s2")
    assert session is not None
    assert session["expires_at"] == 200


async def test_a_refresh_token_is_spent_by_one_at_a_time(database: SqlDatabase) -> None:
    async with database.transaction() as q:
        await users.insert_user(q, User("u1", None, None, True, 5), None)
        await users.insert_session(q, "s1", "u1", 10, 100)
        await users.insert_refresh(q, "t1", "s1", 10)

    async def spend(at: int) -> bool:
        async with database.transaction() as q:
            row = await users.lock_refresh(q, "t1")
            assert row is not None
            if row["spent_at"] is None:
                await users.spend_refresh(q, "t1", at)
            return row["spent_at"] is None

    assert sum(await asyncio.gather(*(spend(n) for n in range(1, 11)))) == 1
