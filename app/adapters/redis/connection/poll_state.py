"""The state of a poll as scripts return and publish it (``scripts/README.md``)."""

from collections.abc import Sequence
from typing import Any

from ....domain.ballots import PollState
from ....domain.commitments import Commitment
from ....domain.poll_kinds import VOTERS


def parse_state(poll_id: str, raw: Sequence[Any]) -> PollState:
    """``raw``: the decoded array ``state``. Versions before 1.0 leave out its last element."""
    flat = iter(raw[12])
    counts = {name: int(n) for name, n in zip(flat, flat, strict=True)}
    voters = counts.pop(VOTERS, 0)
    now, epoch, seq, version, owner, opens, closes, opened, closed, deleted, draft, accepted = raw[:12]
    return PollState(
        poll_id=poll_id,
        now=now,
        epoch=epoch,
        seq=seq,
        version=version,
        owner_id=owner,
        opens=opens,
        closes=closes,
        opened=opened,
        closed=closed,
        deleted=deleted,
        draft=draft,
        accepted=accepted,
        voters=voters,
        counts=counts,
        commitment=Commitment.unpack(raw[13]) if len(raw) > 13 and raw[13] else None,
    )
