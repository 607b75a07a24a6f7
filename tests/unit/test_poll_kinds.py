"""Kinds of polls in Python and in Lua."""

import re

from app.domain.poll_kinds import KINDS, Choice
from tools.harness.process import ROOT

LUA = (ROOT / "app/adapters/redis/scripts/kinds.lua").read_text()


def test_both_languages_have_the_same_kinds_with_the_same_functions() -> None:
    found = {
        kind: set(re.findall(r"^    (\w+) = function", body, re.MULTILINE))
        for kind, body in re.findall(r"^  (\w+) = \{\n(.*?)^  \}", LUA, re.MULTILINE | re.DOTALL)
    }
    assert found == {kind: {"validate", "same", "totals"} for kind in KINDS}


def test_choices_are_the_same_in_any_order() -> None:
    assert Choice().same(["a", "b"], ("b", "a"))
    assert not Choice().same(["a", "b"], ("a",))
    assert not Choice().same(["a", "b"], ("a", "c"))


def test_each_option_of_a_ballot_counts_once_and_a_retraction_counts_nothing() -> None:
    ballots = [(["a", "b"], 2), (["b"], 1), ([], 5)]
    assert Choice().totals(ballots) == {"voters": 3, "a": 2, "b": 3}
