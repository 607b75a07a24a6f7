"""Who may see the counts of a poll, and the tally that each reader gets."""

from .ballots import PollState, Tally
from .polls import Rules


def tally(rules: Rules, state: PollState, *, counts: bool) -> Tally:
    """``counts``: whether the reader may see them."""
    result = Tally(epoch=state.epoch, seq=state.seq, voters=state.voters, final=bool(state.closed))
    if counts:
        result.counts = {option.id: state.counts.get(option.id, 0) for option in rules.options}
    return result


def may_see_closed(rules: Rules, *, owner: bool) -> bool:
    """Who sees the counts of a closed poll."""
    return owner or rules.results_visibility != "owner"


def may_see(rules: Rules, state: PollState, *, owner: bool, voted: bool) -> bool:
    """Who sees counts: the contract's ``resultsVisibility``. ``voted``: ever had a vote accepted in this poll."""
    if owner or rules.results_visibility == "always":
        return True
    if rules.results_visibility == "owner":
        return False
    return bool(state.closed) or (rules.results_visibility == "after_vote" and voted)
