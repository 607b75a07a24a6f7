"""What a verifiable poll publishes after its close: the leaf of a ballot, the tree of RFC 9162, the text that is signed.

``docs/verifying.md`` describes the same for others, and ``scripts/verify`` checks it without this code.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct

from .errors import PollroomError, invalid
from .values import Camel

SHORTEST_BALLOT_ID: Final = 22
"""Characters of a ballot id in a verifiable poll. ``cast.lua`` has the same number."""
ROW: Final = 1024
"""Nodes that one stored row holds. A power of two, so that a row is a subtree."""

_BALLOT: Final = b"pollroom-ballot-v1"


class CommitmentView(Camel):
    """``root`` in hex. ``fingerprint``: the beginning of ``root`` for people."""

    size: int
    root: str
    fingerprint: str


class Commitment(Struct, frozen=True):
    """``size``: standing ballots. ``root`` in hex."""

    size: int
    root: str

    @property
    def fingerprint(self) -> str:
        """The first 25 characters of the root's base32, in groups of five."""
        text = base64.b32encode(bytes.fromhex(self.root)).decode()
        return "-".join(text[start : start + 5] for start in range(0, 25, 5))

    @property
    def packed(self) -> str:
        """As the ledger keeps it."""
        return f"{self.size}:{self.root}"

    @classmethod
    def unpack(cls, text: str) -> "Commitment":
        size, _, root = text.partition(":")
        return cls(int(size), root)

    def view(self) -> CommitmentView:
        return CommitmentView(self.size, self.root, self.fingerprint)


def short_ballot_id() -> PollroomError:
    """The refusal of a ballot whose id could be guessed, which would tell who voted."""
    return invalid("id", f"must have {SHORTEST_BALLOT_ID} characters or more in a verifiable poll")


def hash_terms(question: str, options: Iterable[tuple[str, str]]) -> str:
    """What was asked, as hex. ``options``: id and label of each, in their order."""
    parts = [_field(question.encode())]
    for id, label in options:
        parts += (_field(id.encode()), _field(label.encode()))
    return sha256(b"".join(parts)).hexdigest()


def leaf_prefix(poll_id: str, terms: str) -> bytes:
    """What the leaves of a poll have in common."""
    return b"\x00" + b"".join(_field(part) for part in (_BALLOT, poll_id.encode(), terms.encode()))


def leaf(prefix: bytes, ballot_id: bytes, options: Sequence[bytes]) -> bytes:
    """The leaf of a ballot. ``options`` are sorted."""
    return sha256(prefix + b"".join(map(_field, (ballot_id, *options)))).digest()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def tree_root(nodes: Sequence[bytes]) -> bytes:
    """The root over leaves, or over subtrees of equal size of which the last one may be smaller."""
    if not nodes:
        return sha256(b"").digest()
    while len(nodes) > 1:
        nodes = _paired(nodes)
    return nodes[0]


def tree_path(nodes: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings of a node, from it up to the root over ``nodes``."""
    path = []
    while len(nodes) > 1:
        sibling = index ^ 1
        if sibling < len(nodes):
            path.append(nodes[sibling])
        nodes, index = _paired(nodes), index // 2
    return path


def upper_rows(roots: list[bytes]) -> Iterator[list[list[bytes]]]:
    """The levels above the leaves, in rows. ``roots``: of the rows of leaves. The last level has one row.

    Nothing if all leaves are in one row, whose root is that of the tree.
    """
    while len(roots) > 1:
        rows = [roots[start : start + ROW] for start in range(0, len(roots), ROW)]
        yield rows
        roots = [tree_root(row) for row in rows]


def _paired(nodes: Sequence[bytes]) -> list[bytes]:
    """The level above: the last one of an odd number goes up as it is."""
    pairs = iter(nodes)
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    return [*above, nodes[-1]] if len(nodes) % 2 else above


def checkpoint_text(poll_id: str, commitment: Commitment) -> str:
    """A checkpoint of C2SP tlog-checkpoint, unsigned."""
    root = base64.b64encode(bytes.fromhex(commitment.root)).decode()
    return f"pollroom/polls/{poll_id}\n{commitment.size}\n{root}\n"
