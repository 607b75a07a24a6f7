"""Rooms with python-socketio and its Redis manager, on uvicorn. Prints its port."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import socketio
from poll import TICK_SECONDS, Polls, Refused, user_of
from serve import serve

polls = Polls()
sio = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"]),
    transports=["websocket"],
    ping_interval=60,
)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    user = user_of(auth["token"]) if auth and "token" in auth else None
    await sio.save_session(sid, {"user": user})


@sio.on("JOIN_POLL")
async def join(sid: str, message: dict[str, str]) -> None:
    await polls.find(message["pollId"])
    await sio.enter_room(sid, message["pollId"])
    state = {"pollId": message["pollId"], "tally": await polls.tally(message["pollId"])}
    await sio.emit("POLL_STATE", state, to=sid)


@sio.on("VOTE")
async def vote(sid: str, message: dict[str, str]) -> None:
    user = (await sio.get_session(sid))["user"]
    try:
        if user is None:
            raise Refused("UNAUTHENTICATED")
        answer = await polls.cast(user, message["pollId"], message["optionId"], message["id"])
        await sio.emit("VOTE_ACCEPTED", answer, to=sid)
    except Refused as error:
        await sio.emit("ERROR", {"code": str(error), "id": message["id"]}, to=sid)


async def tick() -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        due, polls.moved = polls.moved, set()
        for poll_id in due:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            update = {"pollId": poll_id, "tally": await polls.tally(poll_id), "viewers": 0, "serverTime": now}
            await sio.emit("POLL_UPDATE", update, room=poll_id)


serve(socketio.ASGIApp(sio), tick)
