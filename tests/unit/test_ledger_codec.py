"""Ballots as rows of SQL and as Redis keeps them."""

from app.adapters.redis.ledger.codec import pack_ballots, unpack_ballots
from app.domain.ballots import BallotRow
from app.domain.poll_rules import compose
from app.domain.polls import NewPoll

RULES = compose(NewPoll("Tea?", ["yes", "no", "maybe"], max_choices=2), "owner", 1000)
IDS = [option.id for option in RULES.options]


def row(voter: str, choices: str, earlier: str = "[]") -> BallotRow:
    return BallotRow(RULES.id, voter, 2, f"ballot of {voter}", choices, 5, 3, 1500, True, earlier)


def stored(*rows: BallotRow) -> list[BallotRow]:
    flat = [item.encode() if isinstance(item, str) else item for item in pack_ballots(RULES, rows)]
    return unpack_ballots(RULES.id, 3, IDS, list(zip(flat[::2], flat[1::2], strict=True)))


def test_ballots_come_back_as_they_were() -> None:
    rows = [row("a", f"{IDS[2]},{IDS[0]}"), row("ü", "", f'[["first",false,["{IDS[1]}"],4,1400]]')]
    assert stored(*rows) == rows


def test_options_that_the_poll_lacks_are_left_out() -> None:
    assert stored(row("a", f"gone,{IDS[1]}")) == [row("a", IDS[1])]
