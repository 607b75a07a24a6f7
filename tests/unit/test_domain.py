"""Rules of the domain that need no store: choices of a ballot, and who sees the counts."""

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from app.domain.ballots import PollState
from app.domain.errors import PollroomError
from app.domain.poll_rules import compose
from app.domain.polls import NewPoll
from app.domain.visibility import may_see, tally
from app.domain.vote_forms import choices_of

STATE = PollState(
    poll_id="p",
    now=2000,
    epoch=3,
    seq=7,
    version=1,
    owner_id="owner",
    opens=1000,
    closes=0,
    opened=True,
    closed=0,
    deleted=False,
    draft=False,
    accepted=True,
    voters=1,
)
RULES = compose(NewPoll("Tea?", ["yes", "no"]), "owner", 1000)


@pytest.mark.parametrize(
    ("option_ids", "option_id", "choices"),
    [(["b", "a"], UNSET, ("b", "a")), (UNSET, "a", ("a",)), ([], UNSET, ())],
)
def test_choices_keep_the_order_sent(
    option_ids: list[str] | UnsetType, option_id: str | UnsetType, choices: tuple[str, ...]
) -> None:
    assert choices_of(option_ids, option_id) == choices


@pytest.mark.parametrize(
    ("option_ids", "option_id", "fields"),
    [
        (UNSET, UNSET, {"optionIds"}),
        (["a"], "a", {"optionIds", "optionId"}),
        (["a", "a"], UNSET, {"optionIds"}),
    ],
)
def test_wrong_choices_are_refused_by_field(
    option_ids: list[str] | UnsetType, option_id: str | UnsetType, fields: set[str]
) -> None:
    with pytest.raises(PollroomError) as caught:
        choices_of(option_ids, option_id)
    assert caught.value.code == "VALIDATION_FAILED"
    assert set(caught.value.fields or {}) == fields


@pytest.mark.parametrize(
    ("visibility", "stranger", "voter", "after_close"),
    [
        ("always", True, True, True),
        ("after_vote", False, True, True),
        ("after_close", False, False, True),
        ("owner", False, False, False),
    ],
)
def test_who_sees_the_counts(visibility: str, stranger: bool, voter: bool, after_close: bool) -> None:
    rules = replace(RULES, results_visibility=visibility)
    closed = replace(STATE, closed=2000)
    assert may_see(rules, STATE, owner=False, voted=False) is stranger
    assert may_see(rules, STATE, owner=False, voted=True) is voter
    assert may_see(rules, closed, owner=False, voted=False) is after_close
    assert may_see(rules, STATE, owner=True, voted=False) is True


def test_a_tally_has_a_count_for_each_option_or_none_at_all() -> None:
    first, second = (option.id for option in RULES.options)
    state = replace(STATE, counts={second: 1})
    assert tally(RULES, state, counts=True).counts == {first: 0, second: 1}
    assert tally(RULES, state, counts=False).counts is UNSET
