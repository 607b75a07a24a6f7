"""Accounts, guests, sessions and tokens, as stored and as shown."""

from msgspec import Struct

from .values import Camel, rfc3339


class User(Struct, frozen=True):
    """``email`` is null for a guest; ``created_at`` in milliseconds since the epoch.

    ``proven``: a guest who solved a challenge.
    """

    id: str
    email: str | None
    name: str | None
    guest: bool
    created_at: int
    proven: bool = False


class UserView(Camel):
    id: str
    email: str | None
    name: str | None
    guest: bool
    created_at: str

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(user.id, user.email, user.name, user.guest, rfc3339(user.created_at))


class Identity(Struct, frozen=True):
    """Who a verified access token speaks for. ``expires_at`` in milliseconds since the epoch.

    ``own``: a user of the app's own issuer, who has no session here; ``session_id`` is then the user's id.
    """

    user: User
    session_id: str
    expires_at: int
    own: bool = False


class Register(Camel):
    email: str
    password: str
    name: str | None = None


class Login(Camel):
    email: str
    password: str


class Refresh(Camel):
    refresh_token: str


class Guest(Camel):
    """`solution`: of a challenge, where one is required."""

    name: str | None = None
    solution: str | None = None


class SolvedChallenge(Camel):
    """`solution`: of a challenge."""

    solution: str


class Challenge(Camel):
    """A challenge of ALTCHA: find the number up to `maxnumber` that gives `challenge` when it is hashed after `salt`."""

    algorithm: str
    challenge: str
    maxnumber: int
    salt: str
    signature: str


class ChangePassword(Camel):
    password: str
    new_password: str


class DeleteAccount(Camel):
    """Guests have no password."""

    password: str | None = None


class SessionView(Camel):
    """`lastUsedAt`: the last log-in or refresh. `current`: the session of the request."""

    id: str
    created_at: str
    last_used_at: str
    current: bool


class Session(Camel):
    """Answer of every call that gives tokens. ``expires_in``: seconds of life of the access token."""

    user: UserView
    access_token: str
    refresh_token: str
    expires_in: float
    token_type: str = "Bearer"
