"""Ballots between SQL's rows and what the scripts keep (``prelude.lua``): options by name there, by position here."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from app.modules.poll.types import Rules
from app.modules.vote.types import BallotRow

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[int, str, list[int], int, int, int, list[tuple[str, list[int], int, int]]]
).decode
_earlier = msgspec.json.Decoder(list[tuple[str, bool, list[str], int, int]]).decode
_json = msgspec.json.Encoder().encode


def pack_ballots(rules: Rules, rows: Iterable[BallotRow]) -> list[str | bytes]:
    """Voter, packed ballot, voter, … Choices of options that the poll no longer has are left out."""
    position = {option.id: i for i, option in enumerate(rules.options, 1)}
    flat: list[str | bytes] = []
    for row in rows:
        past: list[Any] = []
        if row.earlier != "[]":
            for id, _, choices, seq, at in _earlier(row.earlier):
                past.append((id, [position[name] for name in choices if name in position], seq, at))
        chosen = (
            [position[name] for name in row.choices.split(",") if name in position] if row.choices else []
        )
        flat.append(row.voter_id)
        flat.append(_encode((row.n, row.ballot_id, chosen, row.seq, row.cast_at, int(row.accepted), past)))
    return flat


def unpack_ballots(
    poll_id: str, epoch: int, options: Sequence[str], flat: Sequence[tuple[bytes, bytes]]
) -> list[BallotRow]:
    """Rows of the ballots as Redis keeps them; ``options`` in the poll's order."""
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
