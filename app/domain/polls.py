"""Polls: the rules as SQL owns them, and the document as clients see it."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType

from .commitments import Commitment, CommitmentView
from .values import Camel, optional_rfc3339, rfc3339

Visibility = Literal["always", "after_vote", "after_close", "owner"]
Status = Literal["draft", "scheduled", "open", "closed"]
Kind = Literal["choice"]
"""See ``poll_kinds.py``."""

Guests = bool | Literal["challenge"]
"""Whether guests may vote. "challenge": those alone who solved a challenge."""

MAX_OPTIONS: Final = 100

Address = Callable[[str], str]
"""Name of a stored file -> where clients read it."""

_IMAGE_FILE: Final = re.compile(r"[A-Za-z0-9_-]{17}-(1024|256)\.webp")


class Option(Struct, frozen=True):
    """``image``: id of the stored image (see ``image_files``), null without one. ``correct``: secret until revealed."""

    id: str
    label: str
    image: str | None = None
    correct: bool = False


class Rules(Struct, frozen=True):
    """A row of ``polls`` with its options. Times in milliseconds since the epoch.

    ``opens_at``, ``closes_at``, ``closed_at`` and ``deleted_at`` follow the ledger through the vote log and lag behind it:
    of a poll that the ledger holds, read them there. ``seq`` likewise. ``deck_id`` changes without a new version.

    New fields have a default and are in the column ``rules``, a JSON object: they need no migration.
    """

    id: str
    code: str
    owner_id: str
    version: int
    seq: int
    question: str
    description: str | None
    options: tuple[Option, ...]
    min_choices: int
    max_choices: int
    results_visibility: Visibility
    allow_change: bool
    guests: bool
    draft: bool
    opens_at: int | None
    closes_at: int | None
    closed_at: int | None
    deleted_at: int | None
    created_at: int
    paused: bool = False
    revealed_at: int | None = None
    round: int = 1
    previous_id: str | None = None
    deck_id: str | None = None
    kind: Kind = "choice"
    verifiable: bool = False
    guest_challenge: bool = False

    @property
    def correct(self) -> list[str]:
        """IDs of the correct options: for the owner, and for everybody once ``revealed_at`` is set."""
        return [option.id for option in self.options if option.correct]

    @property
    def guests_allowed(self) -> Guests:
        """``guests`` as owners set it and clients see it."""
        return "challenge" if self.guest_challenge else self.guests


LEDGER_RULES: Final = (
    "version",
    "kind",
    "min_choices",
    "max_choices",
    "allow_change",
    "guests",
    "guest_challenge",
    "draft",
    "paused",
    "verifiable",
)
"""The fields of ``Rules`` that the ledger decides ballots by. Its scripts find them under these names in ``poll.rules``."""


class Times(Protocol):
    """What decides the status of a stored poll; a row of ``polls``."""

    @property
    def draft(self) -> bool: ...

    @property
    def opens_at(self) -> int | None: ...

    @property
    def closes_at(self) -> int | None: ...

    @property
    def closed_at(self) -> int | None: ...


def stored_status(rules: Times, now: int) -> Status:
    """Of a poll that the ledger does not hold: what is stored is whole."""
    if rules.closed_at:
        return "closed"
    if rules.draft:
        return "draft"
    if rules.opens_at is not None and rules.opens_at > now:
        return "scheduled"
    return "closed" if rules.closes_at is not None and rules.closes_at <= now else "open"


class OptionView(Camel):
    id: str
    label: str
    image_url: str | None = None
    thumbnail_url: str | None = None


class Revealed(Camel):
    at: str
    correct_option_ids: list[str]


class PollView(Camel):
    """``poll`` of the contract. ``correct_option_ids``: in HTTP answers to the owner alone."""

    id: str
    code: str
    owner_id: str
    question: str
    description: str | None
    options: list[OptionView]
    min_choices: int
    max_choices: int
    results_visibility: Visibility
    allow_change: bool
    guests: Guests
    status: Status
    opens_at: str | None
    closes_at: str | None
    created_at: str
    paused: bool
    round: int
    previous_poll_id: str | None
    deck_id: str | None
    revealed: Revealed | None
    verifiable: bool
    commitment: CommitmentView | None
    correct_option_ids: list[str] | UnsetType = UNSET


def image_files(image: str) -> tuple[str, str]:
    """The names of its files: at most 1024 pixels a side, at most 256."""
    return f"{image}-1024.webp", f"{image}-256.webp"


def is_image_file(name: str) -> bool:
    return _IMAGE_FILE.fullmatch(name) is not None


def option_view(option: Option, address: Address) -> OptionView:
    if option.image is None:
        return OptionView(option.id, option.label)
    large, small = image_files(option.image)
    return OptionView(option.id, option.label, address(large), address(small))


def view(
    rules: Rules,
    status: Status,
    opens_at: int | None,
    closes_at: int | None,
    address: Address,
    commitment: Commitment | None = None,
) -> PollView:
    return PollView(
        id=rules.id,
        code=rules.code,
        owner_id=rules.owner_id,
        question=rules.question,
        description=rules.description,
        options=[option_view(option, address) for option in rules.options],
        min_choices=rules.min_choices,
        max_choices=rules.max_choices,
        results_visibility=rules.results_visibility,
        allow_change=rules.allow_change,
        guests=rules.guests_allowed,
        status=status,
        opens_at=optional_rfc3339(opens_at),
        closes_at=optional_rfc3339(closes_at),
        created_at=rfc3339(rules.created_at),
        paused=rules.paused and status == "open",
        round=rules.round,
        previous_poll_id=rules.previous_id,
        deck_id=rules.deck_id,
        revealed=Revealed(rfc3339(rules.revealed_at), rules.correct) if rules.revealed_at else None,
        verifiable=rules.verifiable,
        commitment=commitment.view() if commitment else None,
    )


class NewOption(Camel):
    """``correct``: absent leaves it, null clears it."""

    label: str
    correct: bool | None | UnsetType = UNSET


Int = Annotated[int, Meta(ge=1, le=MAX_OPTIONS)]
Time = Annotated[datetime, Meta(tz=True)]


class NewPoll(Camel):
    """Body of ``POST /polls``. Null means the default."""

    question: str
    options: list[str | NewOption]
    description: str | None = None
    min_choices: Int | None = None
    max_choices: Int | None = None
    results_visibility: Visibility | None = None
    allow_change: bool | None = None
    guests: Guests | None = None
    opens_at: Time | None = None
    closes_at: Time | None = None
    draft: bool | None = None
    verifiable: bool | None = None


class NewRound(Camel):
    """Body of ``POST /polls/{id}/again``."""

    draft: bool | None = None


class PollEdit(Camel):
    """Body of ``PATCH /polls/{id}``: absent leaves, null sets the default."""

    question: str | UnsetType = UNSET
    options: list[str | NewOption] | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    min_choices: Int | None | UnsetType = UNSET
    max_choices: Int | None | UnsetType = UNSET
    results_visibility: Visibility | None | UnsetType = UNSET
    allow_change: bool | None | UnsetType = UNSET
    guests: Guests | None | UnsetType = UNSET
    opens_at: Time | None | UnsetType = UNSET
    closes_at: Time | None | UnsetType = UNSET
    draft: bool | None | UnsetType = UNSET
    verifiable: bool | None | UnsetType = UNSET
