"""WebSocket close codes: the only place that defines them."""

from enum import IntEnum


class CloseCode(IntEnum):
    """A close code of the contract. ``meaning`` is the text that the AsyncAPI document shows."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "CloseCode":
        self = int.__new__(cls, code)
        self._value_ = code
        self.meaning = meaning
        return self

    NORMAL = 1000, "the client left"
    PROTOCOL_ERROR = 1002, "an invalid frame: do not reconnect unchanged"
    UNSUPPORTED_DATA = 1003, "a binary frame: do not reconnect unchanged"
    INVALID_TEXT = 1007, "text that is not UTF-8: do not reconnect unchanged"
    MESSAGE_TOO_BIG = 1009, "the message is too large: do not reconnect unchanged"
    RESTART = (
        1012,
        "the server restarts: reconnect after a random delay between 0 and `minDelay`·2ⁿ, at most `maxDelay`",
    )
    TOKEN_INVALID = 4401, "the access token is not valid, or no longer: do not reconnect unchanged"
    TOO_SLOW = 4408, "the client is too slow or silent: reconnect as after 1012"
    TOO_MANY_MESSAGES = 4429, "too many messages: reconnect as after 1012, beginning with `maxDelay`"
    OVERLOADED = 4503, "the server is overloaded: reconnect as after 1012"
