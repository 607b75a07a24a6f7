"""What becomes of accounts while votes run: keys change, accounts are deleted, closed polls forget their voters."""

import asyncio
import os
import secrets
import signal
from contextlib import suppress
from typing import Any

import httpx

from tools.faults.load import People, Poll, Voter
from tools.faults.scene import Round, Scene
from tools.faults.stage import SETTINGS, Stage

STOP_SECONDS = 20.0
FORGOTTEN_SECONDS = 60.0
CROWD = 20


async def keys(round: Round) -> None:
    """``JWT_SECRET`` changes in the documented steps. Nobody is logged out, on no instance, at no moment."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        sessions: list[dict[str, Any]] = []
        checks = 0
        current = SETTINGS["JWT_SECRET"]
        for _ in range(round.times(1, 10)):
            new = secrets.token_hex(24)
            steps = ((current, new), (new, current))
            current = new
            async with scene.act(rate=150) as load:
                for secret, old in steps:
                    for number in range(2):
                        stage.web[number] = {"JWT_SECRET": secret, "JWT_SECRET_OLD": old}
                        await _restart(stage, number)
                        sessions += await _new_sessions(stage)
                        await _all_hold(round, stage, sessions)
                        checks += len(sessions)
                        await load.until_answered(20)
            round.hit()
            sessions = sessions[-2:]  # two changes later, their key is no longer among the old ones
            stage.voters = []  # so are those of the voters
        round.notes.append(f"{checks} sessions tried on both instances after a restart")


async def _restart(stage: Stage, number: int) -> None:
    process = stage.webs[number]
    os.kill(process.pid, signal.SIGTERM)
    async with asyncio.timeout(STOP_SECONDS):
        while process.exit_code is None:
            await asyncio.sleep(0.02)
    stage.start_web(number)
    await stage.healed()


async def _new_sessions(stage: Stage) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        return [(await http.post(f"{base}/auth/guest")).json() for base in stage.bases]


async def _all_hold(round: Round, stage: Stage, sessions: list[dict[str, Any]]) -> None:
    """On both instances. Each session is also refreshed once, by either of them in turn."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        for number, session in enumerate(sessions):
            for base in stage.bases:
                answer = await http.get(f"{base}/auth/me", headers=bearer(session["accessToken"]))
                if answer.status_code != 200:
                    round.verdict.wrong.append(
                        f"a session is refused after a change of the key: {answer.text}"
                    )
            refresh = {"refreshToken": session["refreshToken"]}
            answer = await http.post(f"{stage.bases[number % 2]}/auth/refresh", json=refresh)
            if answer.status_code == 200:
                session.update(answer.json())
            else:
                round.verdict.wrong.append(f"a refresh is refused after a change of the key: {answer.text}")


async def forgotten(round: Round) -> None:
    """Accounts are deleted and closed polls forget their voters. Counts stay, of these polls and of all others."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        for number in range(2):
            stage.worker[number] = {"RETENTION_DAYS": "0.00001"}
        await stage.restart()
        for _ in range(round.times(2, 20)):
            async with scene.act(rate=150) as load, People(stage.bases[0]) as people:
                (poll,) = await people.polls(stage.owner, 1)
                crowd = await people.voters(CROWD)
                async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
                    base = stage.bases[1]
                    for voter in crowd:
                        await _vote(http, base, poll, voter)
                    for voter in crowd[::2]:
                        await _done(http, f"{base}/auth/me/delete", voter.token)
                    await _done(http, f"{base}/polls/{poll.id}/close", stage.owner)
                await _forgets(round, stage, poll, crowd)
                await load.until_answered(20)
            round.hit()
        await stage.reset()


async def _vote(http: httpx.AsyncClient, base: str, poll: Poll, voter: Voter) -> None:
    body = {"optionIds": [poll.options[0]]}
    answer = await http.post(f"{base}/polls/{poll.id}/votes", json=body, headers=bearer(voter.token))
    assert answer.status_code == 201, answer.text


async def _done(http: httpx.AsyncClient, url: str, token: str) -> None:
    answer = await http.post(url, headers=bearer(token))
    assert answer.status_code < 300, answer.text


async def _forgets(round: Round, stage: Stage, poll: Poll, crowd: list[Voter]) -> None:
    known = {voter.name for voter in crowd}
    voters: set[str] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(FORGOTTEN_SECONDS):
            while True:
                found = await stage.sql("SELECT voter_id FROM ballots WHERE poll_id = %s", poll.id)
                voters = {str(row[0]) for row in found}
                if len(voters) == CROWD and not voters & known:
                    break
                await asyncio.sleep(0.1)
    if voters & known or len(voters) != CROWD:
        round.verdict.wrong.append(f"{len(voters & known)} of {len(voters)} voters are still named")
    for tally in await stage.tallies([poll.id]):
        if tally.voters != CROWD or tally.counts != {poll.options[0]: CROWD}:
            round.verdict.wrong.append(f"the counts changed when voters were forgotten: {tally}")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
