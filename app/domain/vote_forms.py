"""The part of a ballot that a client writes, alike on every transport."""

from msgspec import UNSET, UnsetType

from .errors import PollroomError, invalid
from .values import BallotId, Camel


class VoteForm(Camel, kw_only=True):
    """Body of ``POST /polls/{id}/votes``: ``optionIds`` or ``optionId``, exactly one of them."""

    option_ids: list[str] | UnsetType = UNSET
    option_id: str | UnsetType = UNSET
    id: BallotId | UnsetType = UNSET

    def choices(self) -> tuple[str, ...]:
        return choices_of(self.option_ids, self.option_id)


def choices_of(option_ids: list[str] | UnsetType, option_id: str | UnsetType) -> tuple[str, ...]:
    """The chosen options, in the order sent; possibly none.

    ``VALIDATION_FAILED`` unless exactly one of the two was sent, and where an option is named twice.
    """
    if option_ids is UNSET:
        if option_id is UNSET:
            raise invalid("optionIds", "optionIds or optionId is required")
        return (option_id,)
    if option_id is not UNSET:
        both = "send optionIds or optionId, not both"
        raise PollroomError("VALIDATION_FAILED", fields={"optionIds": both, "optionId": both})
    if len(set(option_ids)) != len(option_ids):
        raise invalid("optionIds", "an option is named twice")
    return tuple(option_ids)
