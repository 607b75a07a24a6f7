"""The checker finds what was planted, and nothing else."""

from dataclasses import replace

import pytest

from tools.faults.checker import check
from tools.faults.journal import Journal, Op, Outcome, Past, Row, Tally

OK, GIVEN_UP, LOST, REFUSED, GONE = (
    Outcome.OK,
    Outcome.GIVEN_UP,
    Outcome.LOST,
    Outcome.REFUSED,
    Outcome.GONE,
)


def journal() -> Journal:
    """Ann changes and retracts, Bob's answer got lost, Cat was refused, Dan gave up and chose anew."""
    made = Journal(changes={"p": True})
    made.of("p", "ann").extend(
        [Op("a1", ("x",), OK, 1, 10), Op("a2", ("y",), OK, 3, 12), Op("a3", (), OK, 4, 0)]
    )
    made.of("p", "bob").append(Op("b1", ("x",), LOST))
    made.of("p", "cat").append(Op("c1", ("z",), REFUSED, code="INVALID_OPTION"))
    made.of("p", "dan").extend([Op("d1", ("x",), GIVEN_UP), Op("d2", ("y",), OK, 2, 11)])
    return made


def rows() -> list[Row]:
    return [
        Row("p", "ann", 3, 1, (Past("a1", ("x",), 1, 10), Past("a2", ("y",), 3, 12), Past("a3", (), 4, 13))),
        Row("p", "dan", 1, 1, (Past("d2", ("y",), 2, 11),)),
    ]


def tally(**changes: object) -> Tally:
    return replace(Tally("p", "redis", 1, 4, 1, {"y": 1}), **changes)  # type: ignore[arg-type]


def test_what_is_right_passes() -> None:
    verdict = check(journal(), rows(), [tally()])
    assert verdict.ok, verdict.findings
    assert (verdict.acknowledged, verdict.unknown) == (4, 2)


def test_the_unknown_may_be_there_once() -> None:
    there = [*rows(), Row("p", "bob", 1, 1, (Past("b1", ("x",), 5, 14),))]
    assert check(journal(), there, [tally(voters=2, counts={"x": 1, "y": 1})]).ok
    there[1] = Row("p", "dan", 2, 1, (Past("d1", ("x",), 6, 9), Past("d2", ("y",), 2, 11)))
    assert check(journal(), there, [tally(voters=2, counts={"x": 1, "y": 1})]).ok


def test_a_planted_loss_is_found() -> None:
    verdict = check(journal(), rows()[:1], [tally(voters=0, counts={})])
    assert len(verdict.lost) == 1 and "d2" in verdict.lost[0]
    ann = replace(rows()[0], n=2, past=rows()[0].past[:1] + rows()[0].past[2:])
    verdict = check(journal(), [ann, rows()[1]], [tally()])
    assert len(verdict.lost) == 1 and "a2" in verdict.lost[0]


def test_a_planted_duplicate_is_found() -> None:
    assert check(journal(), [*rows(), rows()[1]], []).doubled
    twice = replace(rows()[1], n=2, past=rows()[1].past * 2)
    assert check(journal(), [rows()[0], twice], [tally()]).doubled
    shared = replace(rows()[1], past=(Past("d2", ("y",), 3, 11),))
    assert any("share seq 3" in text for text in check(journal(), [rows()[0], shared], [tally()]).doubled)
    unchangeable = journal()
    unchangeable.changes["p"] = False
    assert check(unchangeable, rows(), [tally()]).doubled


def test_a_planted_wrong_count_is_found() -> None:
    assert len(check(journal(), rows(), [tally(), tally(counts={"y": 2})]).drifted) == 1
    assert check(journal(), rows(), [tally(voters=2)]).drifted
    assert check(journal(), rows(), [tally(counts={"y": 1, "z": 1})]).drifted


@pytest.mark.parametrize(
    "past",
    [
        (
            Past("d2", ("y",), 2, 11),
            Past("d1", ("x",), 5, 12),
        ),  # UNAVAILABLE, and executed after the next one
        (Past("d2", ("z",), 2, 11),),  # other choices
        (Past("d2", ("y",), 9, 11),),  # another answer than the first
        (Past("d2", ("y",), 2, 99),),
        (Past("d2", ("y",), 2, 11), Past("d3", ("y",), 7, 12)),  # nobody's
    ],
)
def test_other_contents_are_found(past: tuple[Past, ...]) -> None:
    assert check(journal(), [rows()[0], Row("p", "dan", len(past), 1, past)], []).wrong


def test_what_was_refused_or_foretold_to_go_is_not_there() -> None:
    cat = Row("p", "cat", 1, 1, (Past("c1", ("z",), 8, 20),))
    assert check(journal(), [*rows(), cat], []).wrong
    emptied = journal()
    emptied.of("p", "ann")[1].outcome = GONE
    assert check(emptied, rows(), []).wrong
    ann = replace(rows()[0], n=2, past=rows()[0].past[:1] + rows()[0].past[2:])
    verdict = check(emptied, [ann, rows()[1]], [tally()])
    assert verdict.ok and verdict.gone == 1


def test_a_lost_connection_may_be_late_but_not_early() -> None:
    made = Journal(changes={"p": True})
    made.of("p", "eve").extend(
        [Op("e1", ("x",), OK, 1, 1), Op("e2", ("y",), LOST), Op("e3", ("x",), OK, 2, 2)]
    )
    one, two, three = Past("e1", ("x",), 1, 1), Past("e2", ("y",), 3, 3), Past("e3", ("x",), 2, 2)
    assert check(made, [Row("p", "eve", 3, 1, (one, two, three))], []).ok
    assert check(made, [Row("p", "eve", 3, 1, (one, three, two))], []).ok
    assert check(made, [Row("p", "eve", 3, 1, (two, one, three))], []).wrong
