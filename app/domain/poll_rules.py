"""The rules of a poll: what may be asked for, and what an edit makes of them. No I/O."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from .ballots import Ballot
from .errors import Fields, PollroomError, invalid
from .poll_kinds import KINDS
from .polls import MAX_OPTIONS, NewOption, NewPoll, Option, PollEdit, Rules
from .text import as_seen, clean_text
from .values import new_id, to_ms

CODE_ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LENGTH: Final = 6
_LAST_TIME: Final = 253_370_764_800_000  # the year 9999

T = TypeVar("T")
U = TypeVar("U")


def new_code() -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))


def is_code(code: str) -> bool:
    return len(code) == CODE_LENGTH and all(letter in CODE_ALPHABET for letter in code.upper())


def compose(new: NewPoll, owner_id: str, now: int) -> Rules:
    """The rules of a new poll; ``VALIDATION_FAILED`` with the field's name."""
    fields = Fields()
    low = new.min_choices or 1
    rules = Rules(
        id=new_id(),
        code=new_code(),
        owner_id=owner_id,
        version=1,
        seq=0,
        question=fields.take(lambda: _question(new.question), ""),
        description=fields.take(lambda: _description(new.description), None),
        options=fields.take(lambda: _options(new.options, ()), ()),
        min_choices=low,
        max_choices=new.max_choices or low,
        results_visibility=new.results_visibility or "always",
        allow_change=bool(new.allow_change),
        guests=bool(new.guests),
        guest_challenge=new.guests == "challenge",
        draft=bool(new.draft),
        opens_at=fields.take(lambda: _time("opensAt", new.opens_at), None),
        closes_at=fields.take(lambda: _time("closesAt", new.closes_at), None),
        closed_at=None,
        deleted_at=None,
        created_at=now,
        verifiable=bool(new.verifiable),
    )
    fields.take(lambda: KINDS[rules.kind].validate(rules), None)
    fields.take(lambda: _check_closing(rules, now), None)
    fields.done()
    return rules


def revise(rules: Rules, edit: PollEdit, *, now: int, opened: bool, closed: bool, accepted: bool) -> Rules:
    """The rules after an edit, or ``rules`` itself where nothing changes.

    ``opened``, ``closed``: the poll ever was; ``accepted``: it ever took a vote.
    """
    fields = Fields()
    low = _given(edit.min_choices, rules.min_choices, 1)
    guests = _given(edit.guests, rules.guests_allowed, False)
    new = replace(
        rules,
        question=fields.take(lambda: _edited(edit.question, rules.question, _question), rules.question),
        description=fields.take(
            lambda: _edited(edit.description, rules.description, _description), rules.description
        ),
        options=fields.take(
            lambda: _edited(edit.options, rules.options, lambda wanted: _options(wanted, rules.options)),
            rules.options,
        ),
        min_choices=low,
        max_choices=_given(edit.max_choices, rules.max_choices, low),
        results_visibility=_given(edit.results_visibility, rules.results_visibility, "always"),
        allow_change=_given(edit.allow_change, rules.allow_change, False),
        guests=bool(guests),
        guest_challenge=guests == "challenge",
        opens_at=fields.take(
            lambda: _edited(edit.opens_at, rules.opens_at, lambda at: _time("opensAt", at)), rules.opens_at
        ),
        closes_at=fields.take(
            lambda: _edited(edit.closes_at, rules.closes_at, lambda at: _time("closesAt", at)),
            rules.closes_at,
        ),
        verifiable=_given(edit.verifiable, rules.verifiable, False),
    )
    fields.take(lambda: KINDS[new.kind].validate(new), None)
    fields.take(lambda: _check_draft(rules, edit), None)
    fields.done()
    if accepted and _fixed_by_votes(new) != _fixed_by_votes(rules):
        raise PollroomError("POLL_LOCKED")
    if closed and _fixed_when_closed(new) != _fixed_when_closed(rules):
        raise PollroomError("POLL_CLOSED")
    if rules.revealed_at and new.correct != rules.correct:
        raise PollroomError("POLL_LOCKED")
    if opened and new.opens_at != rules.opens_at:
        raise invalid("opensAt", "cannot change once the poll is open")
    if _times(new) != _times(rules):
        _check_closing(new, now)
    if new == rules:
        return rules
    # Nobody may notice a change of what is correct: the version, and with it seq, stays.
    silent = _without_answers(new) == _without_answers(rules)
    return new if silent else replace(new, version=rules.version + 1)


def repeat(rules: Rules, *, draft: bool, now: int) -> Rules:
    """The rules of another round: a copy with IDs of its own and without times."""
    return replace(
        rules,
        id=new_id(),
        code=new_code(),
        version=1,
        seq=0,
        options=tuple(replace(option, id=new_id()) for option in rules.options),
        draft=draft,
        opens_at=None,
        closes_at=None,
        closed_at=None,
        deleted_at=None,
        created_at=now,
        paused=False,
        revealed_at=None,
        round=rules.round + 1,
        previous_id=rules.id,
        deck_id=None,
    )


def _without_answers(rules: Rules) -> Rules:
    return replace(rules, options=tuple(replace(option, correct=False) for option in rules.options))


def _choice_rules(rules: Rules) -> tuple[object, ...]:
    labels = [(option.id, option.label) for option in rules.options]
    return rules.kind, labels, rules.min_choices, rules.max_choices, rules.verifiable


def _fixed_by_votes(rules: Rules) -> tuple[object, ...]:
    texts = (rules.question, rules.description) if rules.verifiable else ()
    return *_choice_rules(rules), texts


def _times(rules: Rules) -> tuple[int | None, int | None]:
    return rules.opens_at, rules.closes_at


def _fixed_when_closed(rules: Rules) -> tuple[object, ...]:
    return *_choice_rules(rules), *_times(rules), rules.allow_change, rules.guests_allowed


def guest_refusal(rules: Rules, ballot: Ballot) -> str | None:
    """The code that a ballot is refused with because of who its voter is, if it is."""
    if ballot.guest and not rules.guests:
        return "FORBIDDEN"
    return "CHALLENGE_REQUIRED" if ballot.guest is True and rules.guest_challenge else None


def new_times(before: Rules, after: Rules) -> bool:
    return _times(before) != _times(after)


def _given(value: T | None | UnsetType, current: T, default: T) -> T:
    if value is UNSET:
        return current
    return default if value is None else value


def _edited(value: T | UnsetType, current: U, clean: Callable[[T], U]) -> U:
    return current if value is UNSET else clean(value)


def _check_draft(rules: Rules, edit: PollEdit) -> None:
    if _given(edit.draft, rules.draft, False) != rules.draft:
        raise invalid("draft", "cannot change; open a draft with /open")


def _question(text: str) -> str:
    return clean_text("question", text, 1, 300)


def _description(text: str | None) -> str | None:
    return None if text is None else clean_text("description", text, 1, 2000, lines=True)


def _options(wanted: Sequence[str | NewOption], current: Sequence[Option]) -> tuple[Option, ...]:
    """Options with an unchanged label keep their id, image and ``correct``. Their labels are not tested again."""
    known = {option.label: option for option in current}
    sent = [option if isinstance(option, str) else option.label for option in wanted]
    if not 2 <= len(sent) <= MAX_OPTIONS:
        raise invalid("options", f"must be 2 to {MAX_OPTIONS}")
    labels = [label if label in known else clean_text("options", label, 1, 200) for label in sent]
    kept = [label for label in labels if label in known]
    new = [label for label in labels if label not in known]
    alike = {as_seen(label) for label in kept}
    for label in new:
        if as_seen(label) in alike:
            raise invalid("options", "must have labels that look different")
        alike.add(as_seen(label))
    if len(set(kept)) < len(kept):
        raise invalid("options", "must have different labels")
    options = [known.get(label) or Option(new_id(), label) for label in labels]
    return tuple(_marked(option, asked) for option, asked in zip(options, wanted, strict=True))


def _marked(option: Option, asked: str | NewOption) -> Option:
    if isinstance(asked, str) or asked.correct is UNSET:
        return option
    return replace(option, correct=bool(asked.correct))


def _time(field: str, at: datetime | None) -> int | None:
    if at is None:
        return None
    ms = to_ms(at)
    if not 0 < ms < _LAST_TIME:
        raise invalid(field, "must lie between the years 1970 and 9999")
    return ms


def _check_closing(rules: Rules, now: int) -> None:
    if rules.closes_at is None:
        return
    if rules.closes_at <= now:
        raise invalid("closesAt", "must lie in the future")
    if rules.opens_at is not None and rules.closes_at <= rules.opens_at:
        raise invalid("closesAt", "must lie after opensAt")
