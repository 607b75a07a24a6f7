"""What rooms are told is never dated before what it tells of."""

import json

from app.domain.ballots import PollState
from app.domain.poll_rules import compose
from app.domain.polls import NewPoll, view
from app.services.rooms.feed import Feed, PollPublication


def test_a_close_is_not_dated_before_it_though_our_clock_lags_behind_redis() -> None:
    rules = compose(NewPoll("Tea?", ["yes", "no"]), "owner", 1000)
    state = PollState(
        poll_id=rules.id,
        now=2000,
        epoch=1,
        seq=2,
        version=rules.version,
        owner_id="owner",
        opens=1000,
        closes=2000,
        opened=True,
        closed=2000,
        deleted=False,
        draft=False,
        accepted=False,
        voters=0,
    )
    feed = Feed(rules, state, 15, lambda r, s: view(r, s.status, s.opens, s.closes, str))
    told = json.loads(PollPublication("POLL_CHANGED", feed, now=1999).encoded(counts=True))
    assert told["serverTime"] == told["poll"]["closesAt"] == "1970-01-01T00:00:02.000Z"
    assert (
        json.loads(PollPublication("POLL_CHANGED", feed, now=2500).encoded(counts=True))["serverTime"]
        > told["serverTime"]
    )
