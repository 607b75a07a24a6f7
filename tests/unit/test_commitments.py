"""Leaves, trees and signed notes of verifiable polls, compared with scripts/verify, which shares no code with the app."""

import base64
import hashlib
import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import commitments as domain
from app.domain.commitments import ROW, Commitment
from app.services.polls.signing import NoteSigner
from app.utils import external_sort
from app.utils.external_sort import ExternalSort
from tests.harness.verifying import verify
from tools.harness.process import ROOT


def leaves(n: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in range(n)]


def recursive_root(nodes: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not nodes:
        return hashlib.sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    both = recursive_root(nodes[:split]) + recursive_root(nodes[split:])
    return hashlib.sha256(b"\x01" + both).digest()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100])
def test_the_root_is_that_of_rfc_9162(n: int) -> None:
    nodes = leaves(n)
    tree = verify.Tree()
    for node in nodes:
        tree.add(node)
    assert domain.tree_root(nodes) == tree.root() == recursive_root(nodes)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 8, 13])
def test_every_path_leads_to_the_root(n: int) -> None:
    nodes = leaves(n)
    for index, leaf in enumerate(nodes):
        path = domain.tree_path(nodes, index)
        assert verify.root_of_path(leaf, index, n, path) == domain.tree_root(nodes)


@pytest.mark.parametrize("n", [ROW, ROW + 1, 3 * ROW + 5, 5 * ROW])
def test_rows_of_a_tree_have_the_root_and_the_paths_of_the_whole(n: int) -> None:
    nodes = leaves(n)
    rows = [nodes[start : start + ROW] for start in range(0, n, ROW)]
    roots = [domain.tree_root(row) for row in rows]
    above = list(domain.upper_rows(roots))
    assert len(above) == (len(rows) > 1)
    root = domain.tree_root(above[0][0] if above else roots)
    assert root == recursive_root(nodes)
    for index in (0, ROW - 1, n - 1):
        path = domain.tree_path(rows[index // ROW], index % ROW)
        path += domain.tree_path(above[0][0], index // ROW) if above else []
        assert verify.root_of_path(nodes[index], index, n, path) == root


@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.text("abcXYZ-_0", min_size=1, max_size=8), min_size=1, max_size=5, unique=True),
)
def test_a_leaf_is_the_same_for_both(label: str, options: list[str]) -> None:
    asked = [(option, label) for option in options]
    terms = domain.hash_terms(label, asked)
    assert terms == verify.terms_of(label, [{"id": id, "label": text} for id, text in asked])
    made = domain.leaf(
        domain.leaf_prefix("poll", terms), b"ballot", sorted(option.encode() for option in options)
    )
    assert made == verify.leaf_of("poll", terms, "ballot", options)


def test_a_fingerprint_is_the_beginning_of_the_root() -> None:
    commitment = Commitment(1, bytes(range(32)).hex())
    assert commitment.fingerprint == "AAAQE-AYEAU-DAOCA-JBIFQ-YDIOB"
    assert verify.fingerprint_of(bytes(range(32))) == commitment.fingerprint
    assert Commitment.unpack(commitment.packed) == commitment


SIGNER = NoteSigner("pollroom", bytes(range(32)))


def test_a_note_is_signed_as_the_format_says() -> None:
    commitment = Commitment(3, bytes(32).hex())
    note = SIGNER.sign(domain.checkpoint_text("P", commitment))
    assert note.startswith(f"pollroom/polls/P\n3\n{base64.b64encode(bytes(32)).decode()}\n\n\u2014 pollroom ")
    assert note == SIGNER.sign(domain.checkpoint_text("P", commitment))
    arguments = ("P", 3, bytes(32))
    assert verify.check_checkpoint(note, *arguments, [SIGNER.verifier_key]) == SIGNER.verifier_key
    other = NoteSigner("pollroom", bytes(32)).verifier_key
    assert verify.check_checkpoint(note, *arguments, [other, SIGNER.verifier_key]) == SIGNER.verifier_key
    with pytest.raises(verify.Wrong, match="none of the keys"):
        verify.check_checkpoint(note, *arguments, [other])


def test_ed25519_of_the_script_is_that_of_rfc_8032() -> None:
    """Section 7.1, TEST 2."""
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verify.is_signature(key, b"\x72", signature)
    assert not verify.is_signature(key, b"\x73", signature)
    for position in (0, 31, 32, 63):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not verify.is_signature(key, b"\x72", bytes(changed))
    # The same signature with its answer plus the order of the group must not count (RFC 8032, 5.1.7).
    larger = int.from_bytes(signature[32:], "little") + verify.ORDER
    assert not verify.is_signature(key, b"\x72", signature[:32] + larger.to_bytes(32, "little"))


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 40), st.integers(8, 100), st.randoms(use_true_random=False))
def test_sorting_in_runs_sorts_and_loses_nothing(n: int, run: int, block: int, rng: random.Random) -> None:
    records = [rng.randbytes(4) + b"x" * rng.randrange(30) for _ in range(n)]
    before = external_sort.RUN, external_sort.BLOCK, external_sort.MEMORY
    external_sort.RUN, external_sort.BLOCK, external_sort.MEMORY = run, block, 500
    sorter = ExternalSort(4)
    try:
        for start in range(0, n, 7):
            sorter.add(records[start : start + 7])
        found = list(sorter)
    finally:
        sorter.close()
        external_sort.RUN, external_sort.BLOCK, external_sort.MEMORY = before
    assert found == sorted(records)
    assert all(first <= second for first, second in pairwise(found))


def vectors() -> dict[str, Any]:
    page = (ROOT / "docs" / "verifying.md").read_text()
    found: dict[str, Any] = json.loads(
        page.partition("### Test vectors")[2].split("```")[1].removeprefix("json")
    )
    return found


def test_the_vectors_of_the_docs_are_what_the_app_makes() -> None:
    known = vectors()
    options = [(option["id"], option["label"]) for option in known["options"]]
    terms = domain.hash_terms(known["question"], options)
    assert terms == known["terms"]
    prefix = domain.leaf_prefix(known["pollId"], terms)
    for ballot in known["ballots"]:
        chosen = sorted(option.encode() for option in ballot["optionIds"])
        assert domain.leaf(prefix, ballot["id"].encode(), chosen).hex() == ballot["leaf"]
    nodes = sorted(bytes.fromhex(ballot["leaf"]) for ballot in known["ballots"])
    commitment = Commitment(len(nodes), domain.tree_root(nodes).hex())
    assert known["commitment"] == {
        "size": commitment.size,
        "root": commitment.root,
        "fingerprint": commitment.fingerprint,
    }
    index = nodes.index(bytes.fromhex(known["ballots"][0]["leaf"]))
    path = [node.hex() for node in domain.tree_path(nodes, index)]
    assert known["proofOfFirst"] == {"index": index, "path": path}
    signer = NoteSigner("pollroom", bytes.fromhex(known["secretKey"]))
    assert known["key"] == signer.verifier_key
    assert known["checkpoint"] == signer.sign(domain.checkpoint_text(known["pollId"], commitment))


def test_the_vectors_of_the_docs_are_right_for_the_script() -> None:
    known = vectors()
    document = known["commitment"] | {name: known[name] for name in ("question", "options", "terms")}
    root = verify.check_commitment(document)
    lines = [
        (ballot["leaf"], f"{ballot['id']},{' '.join(sorted(ballot['optionIds']))}")
        for ballot in known["ballots"]
    ]
    listed = ["ballotId,optionIds", *(line for _, line in sorted(lines))]
    assert sum(verify.check_ballots(iter(listed), known["pollId"], document, root).values()) == 4
    proof = known["proofOfFirst"] | known["commitment"]
    assert verify.check_receipt(known["ballots"][0], known["pollId"], document, root, lambda _: proof) == 0
    verify.check_checkpoint(known["checkpoint"], known["pollId"], 3, root, [known["key"]])
