"""Converts between the values of the scripts (``scripts/README.md``) and rules, ballot rows and poll states."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ....domain.ballots import BallotRow, CurrentVote, LoadedBallots
from ....domain.commitments import Commitment
from ....domain.polls import LEDGER_RULES, Rules

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[int, str, list[int], int, int, int, list[tuple[str, list[int], int, int]]]
).decode
_earlier = msgspec.json.Decoder(list[tuple[str, bool, list[str], int, int]]).decode
_json = msgspec.json.Encoder().encode


def pack_rules(
    rules: Rules, new_times: bool, loaded: LoadedBallots | None, commitment: Commitment | None = None
) -> bytes:
    """Encode the rules for ``install_rules``. ``loaded``: counts of the loaded ballots, or ``None`` if none were loaded."""
    return _encode(
        {
            "rules": {name: getattr(rules, name) for name in LEDGER_RULES},
            "owner": rules.owner_id,
            "opens": rules.opens_at or 0,
            "closes": rules.closes_at or 0,
            "options": [option.id for option in rules.options],
            "seq": rules.seq,
            "closed": rules.closed_at or 0,
            "new_times": new_times,
            "loaded": loaded,
            "commitment": commitment.packed if commitment else "",
        }
    )


def pack_ballots(rules: Rules, rows: Iterable[BallotRow]) -> list[str | bytes]:
    """Encode rows as voter, ballot, voter, … SQL has option IDs, Redis their positions. Unknown options are left out."""
    position = {option.id: i for i, option in enumerate(rules.options, 1)}
    flat: list[str | bytes] = []
    for row in rows:
        past: list[Any] = []
        if row.earlier != "[]":
            for id, _, choices, seq, at in _earlier(row.earlier):
                past.append((id, [position[name] for name in choices if name in position], seq, at))
        chosen = [position[name] for name in row.option_ids if name in position]
        flat.append(row.voter_id)
        flat.append(_encode((row.n, row.ballot_id, chosen, row.seq, row.cast_at, int(row.accepted), past)))
    return flat


def unpack_ballots(
    poll_id: str, epoch: int, options: Sequence[str], flat: Sequence[tuple[bytes, bytes]]
) -> list[BallotRow]:
    """Decode ballots of Redis into rows. ``options`` are in the order of the poll."""
    rows = []
    for voter, packed in flat:
        n, id, choices, seq, at, accepted, earlier = _decode(packed)
        past = [(e[0], not e[1], [options[i - 1] for i in e[1]], e[2], e[3]) for e in earlier]
        rows.append(
            BallotRow(
                poll_id,
                voter.decode(),
                n,
                id,
                ",".join(options[i - 1] for i in choices),
                seq,
                epoch,
                at,
                bool(accepted),
                _json(past).decode(),
            )
        )
    return rows


def parse_vote(raw: Mapping[int, Any] | Sequence[Any]) -> CurrentVote:
    return CurrentVote(id=raw[0], choices=tuple(raw[1]), seq=raw[2], cast_at=raw[3], accepted=raw[4])
