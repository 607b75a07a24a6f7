"""Polls that the tests of ballots share."""

from typing import Any

import pytest

from tools.harness.http import Api, Person
from tools.harness.shapes import option_ids

Ballots = Any
Case = tuple[dict[str, Any], list[str]]


@pytest.fixture
async def case(api: Api, owner: Person) -> Case:
    """A poll of three options that guests may vote in once, and its option ids."""
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True)
    return poll, option_ids(poll)


@pytest.fixture
async def changing(api: Api, owner: Person) -> Case:
    """As ``case``, with changes allowed and up to two choices."""
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True, allowChange=True, maxChoices=2)
    return poll, option_ids(poll)


async def standing(api: Api, who: Person, poll: dict[str, Any]) -> Any:
    return (await api.state(poll, who))["yourVote"]
