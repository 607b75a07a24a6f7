"""Kinds of polls: which rules are valid, when two ballots are the same, and what ballots count.

``kinds.lua`` has the same for the scripts of the ledger. Every kind's ballot is a list of option IDs, empty after a retraction.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from .errors import invalid
from .polls import Kind, Rules

VOTERS: Final = "voters"
"""The number of voters, among the counts of the options. It is shorter than any ID."""

Ballots = Iterable[tuple[Sequence[str], int]]
"""Option IDs, and how many voters chose exactly these."""


class PollKind(Protocol):
    def validate(self, rules: Rules) -> None:
        """Raises ``VALIDATION_FAILED`` if no ballot could meet these rules."""

    def same(self, first: Sequence[str], later: Sequence[str]) -> bool:
        """Whether two ballots with one ID say the same, so that the later one is a repeat."""

    def totals(self, ballots: Ballots) -> dict[str, int]:
        """Votes by option ID, and the number of voters as ``VOTERS``. Options without votes may be missing."""


class Choice:
    """``minChoices`` to ``maxChoices`` options, in any order, one vote for each."""

    def validate(self, rules: Rules) -> None:
        if rules.max_choices < rules.min_choices:
            raise invalid("maxChoices", "must be at least minChoices")
        if rules.options and rules.max_choices > len(rules.options):
            raise invalid("maxChoices", "must be at most the number of options")

    def same(self, first: Sequence[str], later: Sequence[str]) -> bool:
        return sorted(first) == sorted(later)

    def totals(self, ballots: Ballots) -> dict[str, int]:
        counts = Counter({VOTERS: 0})
        for chosen, n in ballots:
            if chosen:
                counts[VOTERS] += n
            for option in chosen:
                counts[option] += n
        return dict(counts)


KINDS: Final[dict[Kind, PollKind]] = {"choice": Choice()}
