"""What stands behind the end of a connection, in the same bytes, is not taken."""

import json

import pytest

from tests.instances.pair import Pair
from tests.instances.stalled import Stalled, masked
from tools.harness.http import Person
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("bad", "code"),
    [(masked(1, b"\xff\xfe"), 1007), (masked(2, b"{}"), 1003), (masked(8, b"\x03\xe8"), 1000)],
    ids=["bad text", "binary", "close"],
)
async def test_a_vote_behind_a_frame_that_ends_the_connection_does_not_count(
    shared: Pair, owner: Person, bad: bytes, code: int
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    (await shared.via_a.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
    guest = await shared.via_a.guest()
    client = Stalled(shared.a)
    client.send({"type": "AUTH", "token": guest.token})
    while not any(frame["type"] == "AUTHENTICATED" for frame in client.texts):
        assert client.read(5)
    vote = {"type": "VOTE", "pollId": poll["id"], "optionIds": option_ids(poll)[:1]}
    client.send_bytes(bad + masked(1, json.dumps(vote).encode()))
    while client.close_code is None:
        assert client.read(5)
    client.close()
    assert client.close_code == code
    (await shared.via_b.vote(guest, poll["id"], option_ids(poll)[1:])).fresh()
    assert (await shared.via_b.tally(poll))["voters"] == 2
