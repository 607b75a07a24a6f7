"""What a poll server must do for a vote, with redis.asyncio as its documentation teaches."""

import os
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import redis.asyncio as redis

SECRET = os.environ["JWT_SECRET"]
TICK_SECONDS = int(os.environ.get("TICK_MS", "100")) / 1000
LOG = "peer:{p}:log"


class Refused(Exception):
    pass


def key(kind: str, poll_id: str) -> str:
    return f"peer:{{p}}:{kind}:{poll_id}"


def user_of(token: str) -> str:
    return str(jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_iat": False})["sub"])


class Polls:
    def __init__(self) -> None:
        self.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
        self.known: dict[str, tuple[set[str], int]] = {}
        self.moved: set[str] = set()

    async def find(self, poll_id: str) -> tuple[set[str], int]:
        """Options, and when it closes; the rules of a poll do not change here: read once."""
        poll = self.known.get(poll_id)
        if poll is None:
            fields = await self.redis.hgetall(key("poll", poll_id))
            if not fields:
                raise Refused("NOT_FOUND")
            poll = self.known[poll_id] = set(fields["options"].split(",")), int(fields["closes"])
        return poll

    async def cast(self, user: str, poll_id: str, option: str, id: str) -> dict[str, Any]:
        """Check, one vote per user, count, log entry: one command, then a transaction."""
        options, closes = await self.find(poll_id)
        if closes and closes < time.time() * 1000:
            raise Refused("POLL_CLOSED")
        if option not in options:
            raise Refused("INVALID_OPTION")
        if not await self.redis.hsetnx(key("votes", poll_id), user, option):
            raise Refused("ALREADY_VOTED")
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(key("counts", poll_id), option, 1)
            pipe.hincrby(key("counts", poll_id), "seq", 1)
            pipe.xadd(LOG, {"poll": poll_id, "user": user, "option": option, "id": id})
            results = await pipe.execute()
        self.moved.add(poll_id)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {
            "id": id,
            "pollId": poll_id,
            "optionIds": [option],
            "seq": results[1],
            "castAt": at,
            "repeated": False,
        }

    async def tally(self, poll_id: str) -> dict[str, Any]:
        counts = {name: int(n) for name, n in (await self.redis.hgetall(key("counts", poll_id))).items()}
        seq = counts.pop("seq", 0)
        return {"epoch": 1, "seq": seq, "voters": sum(counts.values()), "final": False, "counts": counts}
