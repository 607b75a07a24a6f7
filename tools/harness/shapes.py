"""The shapes of the contract, and one memory of what every ``(epoch, seq)`` stood for."""

import re
from typing import Any

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
ID = re.compile(r"^[A-Za-z0-9_-]{1,26}\Z")
BALLOT_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z")
ROOT = re.compile(r"^[0-9a-f]{64}\Z")
FINGERPRINT = re.compile(r"^[A-Z2-7]{5}(-[A-Z2-7]{5}){4}\Z")
CODE = re.compile(r"^[A-HJKMNP-Z2-9]{6}\Z")

STATUS = {
    "VALIDATION_FAILED": 422,
    "BAD_MESSAGE": 400,
    "UNKNOWN_TYPE": 400,
    "UNAUTHENTICATED": 401,
    "INVALID_CREDENTIALS": 401,
    "TOKEN_EXPIRED": 401,
    "FORBIDDEN": 403,
    "CHALLENGE_REQUIRED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "EMAIL_TAKEN": 409,
    "ALREADY_VOTED": 409,
    "BALLOT_ID_REUSED": 409,
    "CHANGE_NOT_ALLOWED": 409,
    "CHANGE_LIMIT": 409,
    "POLL_NOT_OPEN": 409,
    "POLL_CLOSED": 409,
    "POLL_LOCKED": 409,
    "POLL_PAUSED": 409,
    "NOTHING_TO_REVEAL": 409,
    "POLL_IN_DECK": 409,
    "DECK_MOVED": 409,
    "DECK_ENDED": 409,
    "TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA": 415,
    "INVALID_OPTION": 422,
    "INVALID_CHOICE_COUNT": 422,
    "UPGRADE_REQUIRED": 426,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}

USER = {"id", "email", "name", "guest", "createdAt"}
SESSION = {"user", "accessToken", "refreshToken", "tokenType", "expiresIn"}
ACCEPTED = {"id", "pollId", "optionIds", "seq", "castAt", "repeated"}
RETRACTED = {"id", "pollId", "seq", "repeated"}
YOUR_VOTE = {"id", "optionIds", "seq", "castAt"}
OPTION = {"id", "label", "imageUrl", "thumbnailUrl"}
POLL = {
    "id", "code", "ownerId", "question", "description", "options", "minChoices", "maxChoices",
    "resultsVisibility", "allowChange", "guests", "status", "opensAt", "closesAt", "createdAt", "paused", "round",
    "previousPollId", "deckId", "revealed", "verifiable", "commitment",
}  # fmt: skip
DECK = {
    "id", "code", "ownerId", "title", "polls", "currentPollId", "position", "count", "version", "createdAt", "endedAt",
}  # fmt: skip
FRAMES: dict[str, set[str]] = {
    "WELCOME": {"serverTime", "connectionId", "maxMessageBytes", "pingInterval", "reconnect", "features"},
    "AUTHENTICATED": {"user", "expiresAt"},
    "POLL_STATE": {"poll", "tally", "viewers", "yourVote", "serverTime"},
    "POLL_UPDATE": {"pollId", "tally", "viewers", "serverTime"},
    "POLL_CHANGED": {"poll", "tally", "serverTime"},
    "POLL_DELETED": {"pollId"},
    "LEFT_POLL": {"pollId"},
    "DECK_STATE": {"deck", "viewers", "serverTime"},
    "DECK_CHANGED": {"deck", "poll", "tally", "viewers", "serverTime"},
    "DECK_UPDATE": {"deckId", "viewers", "serverTime"},
    "DECK_DELETED": {"deckId"},
    "LEFT_DECK": {"deckId"},
    "VOTE_ACCEPTED": ACCEPTED,
    "VOTE_RETRACTED": RETRACTED,
    "PONG": {"serverTime"},
    "ERROR": {"code", "message"},
}
ERROR_EXTRAS = {"id", "pollId", "retryAfter", "fields"}


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_user(user: dict[str, Any]) -> None:
    assert set(user) == USER, user
    assert ID.match(user["id"]), user
    assert TIME.match(user["createdAt"]), user
    assert isinstance(user["guest"], bool), user
    assert user["email"] is None or not user["guest"], user


def check_session(body: dict[str, Any]) -> None:
    assert set(body) == SESSION, body
    check_user(body["user"])
    assert body["tokenType"] == "Bearer"
    assert body["expiresIn"] > 0
    assert body["accessToken"] != body["refreshToken"]


def check_poll(poll: dict[str, Any], *, answers: bool = False) -> None:
    """``answers``: the owner of the poll may have asked, over HTTP."""
    if answers and "correctOptionIds" in poll:
        assert set(poll["correctOptionIds"]) <= set(option_ids(poll)), poll
        poll = public(poll)
    assert set(poll) == POLL, set(poll) ^ POLL
    assert ID.match(poll["id"]) and ID.match(poll["ownerId"]) and CODE.match(poll["code"]), poll
    for option in poll["options"]:
        assert set(option) == OPTION and ID.match(option["id"]), option
    assert poll["status"] in ("draft", "scheduled", "open", "closed"), poll
    assert is_int(poll["minChoices"]) and is_int(poll["maxChoices"]), poll
    assert isinstance(poll["allowChange"], bool) and poll["guests"] in (True, False, "challenge"), poll
    assert TIME.match(poll["createdAt"]), poll
    assert isinstance(poll["verifiable"], bool), poll
    if (commitment := poll["commitment"]) is not None:
        assert poll["verifiable"] and poll["status"] == "closed", poll
        assert set(commitment) == {"size", "root", "fingerprint"} and is_int(commitment["size"]), poll
        assert ROOT.match(commitment["root"]) and FINGERPRINT.match(commitment["fingerprint"]), poll
    for name in ("opensAt", "closesAt"):
        assert poll[name] is None or TIME.match(poll[name]), poll


def check_deck(deck: dict[str, Any], *, polls: bool = True) -> dict[str, Any]:
    """``polls``: over HTTP; sockets and streams leave them out."""
    assert set(deck) == (DECK if polls else DECK - {"polls"}), deck
    assert ID.match(deck["id"]) and CODE.match(deck["code"]) and TIME.match(deck["createdAt"]), deck
    assert is_int(deck["version"]) and is_int(deck["count"]), deck
    assert all(set(poll) == {"id", "question", "status"} for poll in deck.get("polls", ())), deck
    assert (deck["position"] is None) == (deck["currentPollId"] is None), deck
    return deck


def check_your_vote(vote: dict[str, Any] | None) -> None:
    if vote is not None:
        assert set(vote) == YOUR_VOTE, vote
        assert vote["optionIds"], vote
        assert TIME.match(vote["castAt"]) and is_int(vote["seq"]), vote


def check_error(error: dict[str, Any]) -> None:
    code = error["code"]
    assert code in STATUS, error
    if code == "VALIDATION_FAILED":
        fields = error["fields"]
        assert fields and all(isinstance(text, str) and text for text in fields.values()), error
    if code in ("RATE_LIMITED", "UNAVAILABLE"):
        assert error["retryAfter"] > 0, error


class Memory:
    """Checks every tally that the suite sees; raises where one ``(epoch, seq)`` had two contents."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, int], dict[str, Any]] = {}

    def tally(self, poll_id: str, tally: dict[str, Any], poll: dict[str, Any] | None = None) -> None:
        assert set(tally) - {"counts"} == {"epoch", "seq", "voters", "final"}, tally
        assert all(is_int(tally[name]) and tally[name] >= 0 for name in ("epoch", "seq", "voters")), tally
        assert isinstance(tally["final"], bool), tally
        content: dict[str, Any] = {"voters": tally["voters"], "final": tally["final"]}
        if "counts" in tally:
            counts = tally["counts"]
            assert all(is_int(n) and n >= 0 for n in counts.values()), tally
            assert max(counts.values(), default=0) <= tally["voters"] <= sum(counts.values()), tally
            content["counts"] = counts
        if poll is not None:
            check_poll(poll)
            assert (poll["status"] == "closed") == tally["final"], (poll, tally)
            if "counts" in tally:
                assert set(tally["counts"]) <= {option["id"] for option in poll["options"]}, (poll, tally)
            content["poll"] = {**poll, "deckId": None}  # changes without a new seq
        known = self._seen.setdefault((poll_id, tally["epoch"], tally["seq"]), {})
        for name, value in content.items():
            first = known.setdefault(name, value)
            assert first == value, (
                f"{poll_id} {tally['epoch']},{tally['seq']} had two {name}: {first} {value}"
            )

    def frame(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        assert kind in FRAMES, frame
        extra = set(frame) - FRAMES[kind] - {"type"}
        assert FRAMES[kind] <= set(frame), f"{kind} misses {FRAMES[kind] - set(frame)}"
        assert extra <= (ERROR_EXTRAS if kind == "ERROR" else set()), f"{kind} carries {extra}"
        for name in ("serverTime", "expiresAt", "castAt"):
            assert name not in frame or TIME.match(frame[name]), frame
        if kind == "ERROR":
            check_error(frame)
        elif kind == "AUTHENTICATED":
            check_user(frame["user"])
        elif kind == "POLL_STATE":
            check_your_vote(frame["yourVote"])
        if "viewers" in frame:
            assert is_int(frame["viewers"]) and frame["viewers"] >= 1, frame
        if "deck" in frame:
            check_deck(frame["deck"], polls=False)
        if kind == "DECK_CHANGED":
            shown = frame["poll"] and frame["poll"]["id"]
            assert frame["deck"]["currentPollId"] == shown and (frame["tally"] is None) == (shown is None), (
                frame
            )
        if frame.get("tally") is not None:
            poll = frame.get("poll")
            self.tally(poll["id"] if poll else frame["pollId"], frame["tally"], poll)

    def body(self, body: Any) -> None:
        """A JSON body of HTTP: looks for what the contract names in it."""
        if not isinstance(body, dict):
            return
        poll = body.get("poll")
        if poll is not None:
            check_poll(poll, answers=True)
            poll = public(poll)
        if body.get("tally") is not None:
            self.tally(poll["id"] if poll else body["pollId"], body["tally"], poll)
        if "yourVote" in body:
            check_your_vote(body["yourVote"])
        if "accessToken" in body:
            check_session(body)
        if isinstance(body.get("items"), list):
            for item in body["items"]:
                if "question" in item:
                    check_poll(item, answers=True)


def poll_of(frame: dict[str, Any]) -> str | None:
    """The poll that a frame speaks of."""
    return frame["poll"]["id"] if frame.get("poll") else frame.get("pollId")


def counted(tally: dict[str, Any]) -> dict[str, int]:
    """The counts above zero; fails where the tally has none."""
    return {option: n for option, n in tally["counts"].items() if n}


def option_ids(poll: dict[str, Any]) -> list[str]:
    return [option["id"] for option in poll["options"]]


def public(poll: dict[str, Any]) -> dict[str, Any]:
    """A poll as others than its owner see it."""
    return {name: value for name, value in poll.items() if name != "correctOptionIds"}
