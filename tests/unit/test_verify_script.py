"""Each lie that a server can tell about a result, and what scripts/verify says to it."""

import base64
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from app.domain import commitments as domain
from app.domain.commitments import Commitment
from app.services.polls.signing import NoteSigner
from tests.harness.verifying import verify

POLL = "P7mIAEQtRp7oHVIVS"
SIGNER = NoteSigner("pollroom", bytes(range(32)))
OTHER = NoteSigner("pollroom", bytes(32))


class Told:
    """What a server says about one poll of nine ballots: the truth, until a test changes it."""

    poll_id = POLL

    def __init__(self) -> None:
        self.question = "Tea?"
        self.options = [{"id": "o-yes", "label": "Yes"}, {"id": "o-no", "label": "No"}]
        self.receipts = [
            {"id": f"ballot-{n:0>22}", "pollId": POLL, "optionIds": ["o-no" if n % 3 else "o-yes"]}
            for n in range(8)
        ]
        self.receipts.append({"id": "both" * 6, "pollId": POLL, "optionIds": ["o-yes", "o-no"]})
        self.hidden = False
        self.build(self.receipts)

    def build(self, ballots: list[dict[str, Any]]) -> None:
        """Everything that follows from the ballots."""
        terms = domain.hash_terms(self.question, [(o["id"], o["label"]) for o in self.options])
        prefix = domain.leaf_prefix(POLL, terms)
        rows = []
        for ballot in ballots:
            chosen = sorted(option.encode() for option in ballot["optionIds"])
            line = f"{ballot['id']},{b' '.join(chosen).decode()}"
            rows.append((domain.leaf(prefix, ballot["id"].encode(), chosen), line))
        rows.sort()
        self.leaves = [leaf for leaf, _ in rows]
        self.lines = ["ballotId,optionIds", *(line for _, line in rows)]
        commitment = Commitment(len(rows), domain.tree_root(self.leaves).hex())
        self.shown = {
            "size": commitment.size,
            "root": commitment.root,
            "fingerprint": commitment.fingerprint,
        }
        self.document: dict[str, Any] = self.shown | {
            "terms": terms,
            "question": self.question,
            "options": deepcopy(self.options),
            "checkpoint": SIGNER.sign(domain.checkpoint_text(POLL, commitment)),
        }
        self.keys = {"name": "pollroom", "key": SIGNER.verifier_key, "older": [OTHER.verifier_key]}
        counts = {o["id"]: sum(o["id"] in b["optionIds"] for b in ballots) for o in self.options}
        self.answer: dict[str, Any] = {
            "poll": {
                "verifiable": True,
                "commitment": dict(self.shown),
                "question": self.question,
                "options": [o | {"imageUrl": None, "thumbnailUrl": None} for o in self.options],
            },
            "tally": {"voters": len(rows), "final": True, "counts": counts},
        }
        self.proofs = {
            leaf.hex(): self.shown
            | {"index": index, "path": [node.hex() for node in domain.tree_path(self.leaves, index)]}
            for index, leaf in enumerate(self.leaves)
        }

    def json(self, path: str, missing: str = "") -> Any:
        return {
            f"/polls/{POLL}/commitment": self.document,
            f"/polls/{POLL}": self.answer,
            "/.well-known/pollroom-key": self.keys,
        }[path]

    def ballots(self) -> Iterator[str] | None:
        return None if self.hidden else iter(self.lines)

    def proof(self, leaf: str) -> Any:
        return self.proofs.get(leaf)


def said(
    told: Told, folder: Path, receipts: Any = None, key: str | None = None, fingerprint: str | None = None
) -> tuple[bool, list[str]]:
    """Whether all is right, and the lines that say that something is not."""
    file = folder / "receipts.json"
    file.write_text(json.dumps(told.receipts if receipts is None else receipts))
    lines: list[str] = []
    arguments = Namespace(receipts=str(file), key=key, fingerprint=fingerprint)
    right = verify.check(told, arguments, lines.append)
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert right == (not wrong), lines
    return right, wrong


def test_the_truth_is_right(tmp_path: Path) -> None:
    told = Told()
    assert said(told, tmp_path, key=SIGNER.verifier_key, fingerprint=told.shown["fingerprint"].lower())[0]
    told.hidden = True
    del told.answer["tally"]["counts"]
    assert said(told, tmp_path)[0]


def test_an_empty_poll_is_right_whatever_its_texts_became(tmp_path: Path) -> None:
    told = Told()
    told.build([])
    told.answer["poll"]["question"] = "Edited after the close"
    assert said(told, tmp_path, [])[0]


def test_a_poll_of_one_ballot_is_right(tmp_path: Path) -> None:
    told = Told()
    told.build(told.receipts[:1])
    assert said(told, tmp_path, told.receipts[:1])[0]


def resigned(told: Told, **changes: Any) -> None:
    """A server that lies about the commitment, and signs that."""
    told.document |= changes
    commitment = Commitment(told.document["size"], told.document["root"])
    told.document["fingerprint"] = commitment.fingerprint
    told.document["checkpoint"] = SIGNER.sign(domain.checkpoint_text(POLL, commitment))
    told.answer["poll"]["commitment"] = {
        name: told.document[name] for name in ("size", "root", "fingerprint")
    }


def flipped(root: str) -> str:
    return f"{int(root[0], 16) ^ 1:x}{root[1:]}"


def without_a_ballot(told: Told) -> None:
    del told.lines[4]


def with_a_ballot_of_nobody(told: Told) -> None:
    told.build([*told.receipts, {"id": "z" * 22, "optionIds": ["o-yes"]}])
    told.answer["tally"]["counts"]["o-yes"] -= 1


def a_vote_turned(told: Told) -> None:
    """The list says something else, and the order of its leaves is right."""
    turned = deepcopy(told.receipts)
    turned[1]["optionIds"] = ["o-yes"]
    other = Told()
    other.build(turned)
    told.lines, told.answer["tally"] = other.lines, other.answer["tally"]


def two_lines_swapped(told: Told) -> None:
    told.lines[2], told.lines[3] = told.lines[3], told.lines[2]


LIES: dict[str, tuple[Callable[[Told], Any], str]] = {
    "root": (lambda t: resigned(t, root=flipped(t.document["root"])), "their root is another one"),
    "root that is none": (lambda t: t.document.update(root="00"), "not 64 hex digits"),
    "root without its fingerprint": (
        lambda t: t.document.update(root=flipped(t.document["root"])),
        "the fingerprint is not that of the root",
    ),
    "fingerprint": (
        lambda t: t.document.update(fingerprint="A" + t.document["fingerprint"][1:]),
        "the fingerprint is not that of the root",
    ),
    "terms": (lambda t: t.document.update(terms="0" * 64), "the terms are not those"),
    "question": (lambda t: t.document.update(question="Coffee?"), "the terms are not those"),
    "label": (lambda t: t.document["options"][0].update(label="No"), "the terms are not those"),
    "labels swapped": (lambda t: t.document["options"].reverse(), "the terms are not those"),
    "size": (lambda t: resigned(t, size=10), "the list has 9 ballots, the commitment says 10"),
    "size in words": (lambda t: t.document.update(size="9"), "the list has 9 ballots"),
    "commitment of another form": (lambda t: t.document.pop("terms"), "has not the form"),
    "checkpoint of another poll": (
        lambda t: t.document.update(checkpoint=t.document["checkpoint"].replace(POLL, POLL[:-1] + "T")),
        "the checkpoint is of 'pollroom/polls/P7mIAEQtRp7oHVIVT', not of this poll",
    ),
    "size in the checkpoint": (
        lambda t: t.document.update(checkpoint=t.document["checkpoint"].replace("\n9\n", "\n8\n")),
        "the checkpoint says 8 ballots, the commitment 9",
    ),
    "root in the checkpoint": (
        lambda t: t.document.update(
            checkpoint=SIGNER.sign(domain.checkpoint_text(POLL, Commitment(9, "0" * 64)))
        ),
        "the root in the checkpoint is not the one in the commitment",
    ),
    "no note": (lambda t: t.document.update(checkpoint="signed"), "no signed note"),
    "no signature": (
        lambda t: t.document.update(checkpoint=t.document["checkpoint"].partition("\u2014")[0]),
        "no signed note",
    ),
    "key of nobody": (
        lambda t: t.keys.update(key=OTHER.verifier_key, older=[]),
        "none of the keys has signed",
    ),
    "key whose ID is another": (
        lambda t: t.keys.update(key=SIGNER.verifier_key.replace("+c4", "+c5")),
        "the ID of the key 'pollroom' is not that of its bytes",
    ),
    "key that is none": (lambda t: t.keys.update(key="pollroom"), "is no key of a signed note"),
    "ballot missing from the list": (without_a_ballot, "the list has 8 ballots, the commitment says 9"),
    "ballot added": (with_a_ballot_of_nobody, "the ballots say {'o-yes': 5, 'o-no': 6}"),
    "vote turned in the list": (a_vote_turned, "their root is another one"),
    "order of the list": (two_lines_swapped, "the leaves are not sorted"),
    "ballot of no option": (
        lambda t: t.lines.__setitem__(3, t.lines[3].replace("o-", "p-")),
        "line 3 of the list is no ballot of this poll",
    ),
    "list without a head": (lambda t: t.lines.pop(0), "does not begin with ballotId,optionIds"),
    "hidden list with counts": (
        lambda t: setattr(t, "hidden", True),
        "it shows counts, and there is no right list",
    ),
    "counts": (lambda t: t.answer["tally"]["counts"].update({"o-yes": 9}), "the ballots say"),
    "voters": (lambda t: t.answer["tally"].update(voters=10), "it says 10 voters, the commitment 9 ballots"),
    "poll with another commitment": (
        lambda t: t.answer["poll"]["commitment"].update(size=8),
        "shows another commitment",
    ),
    "poll with another question": (lambda t: t.answer["poll"].update(question="Ok?"), "another question"),
    "poll with another label": (
        lambda t: t.answer["poll"]["options"][0].update(label="Sure"),
        "another question or other options",
    ),
    "poll that is open": (lambda t: t.answer["tally"].update(final=False), "not a closed verifiable one"),
    "no proof": (lambda t: t.proofs.clear(), "receipt 1 is in the result: this ballot is NOT in the result"),
    "path": (
        lambda t: [proof["path"].__setitem__(0, "0" * 64) for proof in t.proofs.values()],
        "the proof does not lead to the root",
    ),
    "path too short": (lambda t: [p["path"].pop() for p in t.proofs.values()], "the proof is too short"),
    "path too long": (
        lambda t: [p["path"].append("0" * 64) for p in t.proofs.values()],
        "the proof is too long",
    ),
    "index": (
        lambda t: [p.update(index=p["index"] ^ 1) for p in t.proofs.values()],
        "the proof does not lead to the root",
    ),
    "index outside": (
        lambda t: [p.update(index=9) for p in t.proofs.values()],
        "the proof says that the ballot is number 9 of 9",
    ),
    "proof of another tree": (
        lambda t: [p.update(size=8) for p in t.proofs.values()],
        "the proof is of another commitment",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about(lie: str, tmp_path: Path) -> None:
    told = Told()
    tell, words = LIES[lie]
    tell(told)
    right, wrong = said(told, tmp_path)
    assert not right and any(words in line for line in wrong), wrong


def test_every_byte_of_a_checkpoint_counts(tmp_path: Path) -> None:
    """Each byte of the text, and of the signature in base64, replaced by another one."""
    note = Told().document["checkpoint"].encode()
    for position in range(len(note)):
        told = Told()
        changed = bytearray(note)
        changed[position] ^= 4
        try:
            told.document["checkpoint"] = bytes(changed).decode()
        except UnicodeDecodeError:
            continue
        assert not said(told, tmp_path, [])[0], bytes(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "ballot-0000000000000000000009"},
        {"optionIds": ["o-no"]},
        {"optionIds": ["o-yes", "o-no"]},
        {"optionIds": []},
        {"pollId": "P7mIAEQtRp7oHVIVT"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_receipt_that_says_something_else_is_not_found(change: dict[str, Any], tmp_path: Path) -> None:
    told = Told()
    right, wrong = said(told, tmp_path, [told.receipts[0] | change])
    assert not right and wrong[0].startswith("WRONG  receipt 1 is in the result: this ")


def test_a_receipt_without_an_id_is_said_in_words(tmp_path: Path) -> None:
    right, wrong = said(Told(), tmp_path, [{"optionIds": ["o-yes"]}])
    assert not right and "has not the form" in wrong[0]


def test_a_key_that_the_caller_insists_on_must_have_signed(tmp_path: Path) -> None:
    right, wrong = said(Told(), tmp_path, key=OTHER.verifier_key)
    assert not right and "none of the keys has signed the checkpoint" in wrong[0]


def test_an_older_key_is_taken(tmp_path: Path) -> None:
    told = Told()
    told.keys = {"name": "pollroom", "key": OTHER.verifier_key, "older": [SIGNER.verifier_key]}
    assert said(told, tmp_path)[0]


def test_another_fingerprint_than_the_one_on_the_screen(tmp_path: Path) -> None:
    told = Told()
    seen = "AAAAA" + told.shown["fingerprint"][5:]
    right, wrong = said(told, tmp_path, fingerprint=seen)
    assert not right and f"it is {told.shown['fingerprint']}, not {seen}" in wrong[0]


def test_a_false_signature_is_said_in_words(tmp_path: Path) -> None:
    told = Told()
    text, _, line = told.document["checkpoint"].partition("\u2014")
    name, encoded = line.split()
    data = bytearray(base64.b64decode(encoded))
    data[40] ^= 1
    told.document["checkpoint"] = f"{text}\u2014 {name} {base64.b64encode(data).decode()}\n"
    right, wrong = said(told, tmp_path)
    assert not right and "the signature of 'pollroom' on the checkpoint is false" in wrong[0]
