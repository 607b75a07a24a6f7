"""Ballots as a state machine: runs of random steps over two processes against a model, with kills among the steps or not."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from app.domain.ballots import Ballot, Receipt
from app.domain.polls import Option
from tests.ledger.model import Poll
from tests.ledger.world import some_rules
from tools.faults.load import Voter, to_ms
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage, up

STEPS = 50
VOTERS = 4
PATIENCE_SECONDS = 30.0

Kill = Callable[[str], None]


class Ballots(RuleBasedStateMachine):
    """One poll a run. ``http``: to both processes. ``kill``: by the name of who is killed; none where nobody is."""

    stage: Stage
    round: Round
    kill: Kill | None
    http: httpx.Client

    def __init__(self) -> None:
        super().__init__()
        self.killed = 0
        self.poll: Poll | None = None

    def send(self, method: str, base: int, path: str, body: Any, token: str, key: str | None = None) -> Any:
        """The answer, once it is known."""
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < end, f"{method} {path}: not known after {PATIENCE_SECONDS} s"
            with suppress(httpx.TransportError):
                url = f"{self.stage.bases[base]}{path}"
                answer = self.http.request(method, url, json=body, headers=headers)
                if answer.status_code not in (500, 503):
                    return answer
                assert self.kill is not None, answer.text
            time.sleep(0.05)

    @initialize(changes=st.booleans(), most=st.integers(1, 3))
    def make(self, changes: bool, most: int) -> None:
        body = {
            "question": "?", "options": ["A", "B", "C"], "maxChoices": most, "guests": True, "allowChange": changes,
        }  # fmt: skip
        shown = self.send("POST", 0, "/polls", body, self.stage.owner).json()["poll"]
        self.id, self.options = shown["id"], [option["id"] for option in shown["options"]]
        rules = some_rules(
            self.id,
            options=tuple(Option(id, "") for id in self.options),
            max_choices=most,
            guests=True,
            allow_change=changes,
        )
        self.poll = Poll.made(rules, 1)
        self.poll.seq = self._tally(0)["seq"]

    def _tally(self, base: int) -> Any:
        return self.send("GET", base, f"/polls/{self.id}", None, self.stage.owner).json()["tally"]

    def cast(self, voter: int, id: str, retract: bool, choices: tuple[str, ...], base: int) -> None:
        assert self.poll is not None
        who: Voter = self.stage.voters[voter]
        if retract:
            answer = self.send("DELETE", base, f"/polls/{self.id}/votes/mine", None, who.token, id)
        else:
            body = {"optionIds": choices, "id": id}
            answer = self.send("POST", base, f"/polls/{self.id}/votes", body, who.token)
        found = answer.json()
        at = to_ms(found["castAt"]) if "castAt" in found else 0
        wanted = self.poll.cast(Ballot(self.id, who.name, True, id, retract, choices), at)
        if isinstance(wanted, str):
            assert found.get("code") == wanted, (found, wanted)
            return
        self.round.verdict.acknowledged += not wanted.repeated
        assert "code" not in found, (found, wanted)
        assert found["seq"] == wanted.seq, (found, wanted)
        assert retract or self._same(found, wanted), (found, wanted)
        # A reply may be lost with who was killed.
        assert found["repeated"] == wanted.repeated or (self.killed and found["repeated"]), (found, wanted)

    @staticmethod
    def _same(found: Any, wanted: Receipt) -> bool:
        return found["optionIds"] == list(wanted.choices) and to_ms(found["castAt"]) == wanted.cast_at

    @rule(
        voter=st.integers(0, VOTERS - 1),
        id=st.integers(0, 7),
        chosen=st.lists(st.integers(0, 3), unique=True, max_size=3),
        base=st.integers(0, 1),
    )
    def vote(self, voter: int, id: int, chosen: list[int], base: int) -> None:
        names = [*self.options, "nothing"]
        self.cast(voter, f"id{id}", False, tuple(names[n] for n in chosen), base)

    @rule(voter=st.integers(0, VOTERS - 1), id=st.integers(0, 7), base=st.integers(0, 1))
    def retract(self, voter: int, id: int, base: int) -> None:
        self.cast(voter, f"id{id}", True, (), base)

    @rule(changes=st.booleans(), guests=st.sampled_from([True] * 6 + [False]), base=st.integers(0, 1))
    def edit(self, changes: bool, guests: bool, base: int) -> None:
        assert self.poll is not None
        body = {"allowChange": changes, "guests": guests}
        answer = self.send("PATCH", base, f"/polls/{self.id}", body, self.stage.owner)
        new = replace(self.poll.rules, allow_change=changes, guests=guests)
        if new == self.poll.rules:
            assert answer.status_code == 200, answer.text
        elif self.poll.closed:
            assert answer.json()["code"] == "POLL_CLOSED", answer.text
        else:
            assert answer.status_code == 200, answer.text
            self.poll.install(replace(new, version=new.version + 1), 1, times=False)

    @rule(base=st.integers(0, 1), sure=st.integers(0, 9))
    def close(self, base: int, sure: int) -> None:
        assert self.poll is not None
        if sure == 7:
            answer = self.send("POST", base, f"/polls/{self.id}/close", None, self.stage.owner)
            assert answer.status_code == 200, answer.text
            self.poll.close(2)

    @rule(voter=st.integers(0, VOTERS - 1), base=st.integers(0, 1))
    def look(self, voter: int, base: int) -> None:
        assert self.poll is not None
        who = self.stage.voters[voter]
        shown = self.send("GET", base, f"/polls/{self.id}", None, who.token).json()
        tally, mine = shown["tally"], shown["yourVote"]
        counts = {option: n for option, n in tally["counts"].items() if n}
        assert (tally["voters"], counts) == (self.poll.voters, self.poll.counts), (shown, self.poll)
        assert tally["seq"] == self.poll.seq or (self.killed and tally["seq"] > self.poll.seq), (
            shown,
            self.poll,
        )
        assert tally["final"] == bool(self.poll.closed)
        past = self.poll.past.get(who.name)
        standing = past.standing if past is not None else None
        if standing is None or not standing.choices:
            assert mine is None, (mine, standing)
        else:
            assert (mine["id"], mine["optionIds"], mine["seq"]) == (
                standing.id,
                list(standing.choices),
                standing.seq,
            )

    @precondition(lambda self: self.kill is not None and self.killed < 2)
    @rule(whom=st.sampled_from(["web0", "web1", "redis", "worker"]), sure=st.integers(0, 4))
    def strike(self, whom: str, sure: int) -> None:
        if sure == 3:
            assert self.kill is not None
            self.killed += 1
            self.kill(whom)


async def plain(round: Round) -> None:
    await _run(round, 2000 if round.full else 30, kills=False)


async def with_kills(round: Round) -> None:
    await _run(round, 300 if round.full else 6, kills=True)


async def _run(round: Round, runs: int, *, kills: bool) -> None:
    async with round.stage() as stage:
        await Scene(round, stage).polls(1)  # makes the people
        loop = asyncio.get_running_loop()
        struck = 0

        async def strike(whom: str) -> None:
            if whom == "redis":
                stage.redis.kill()
                await up(stage.redis)
            elif whom == "worker":
                stage.workers[0].kill_leader()
                stage.start_worker(0)
            else:
                number = int(whom[-1])
                stage.webs[number].kill_leader()
                stage.start_web(number)

        def kill(whom: str) -> None:
            nonlocal struck
            struck += 1
            round.hit()
            asyncio.run_coroutine_threadsafe(strike(whom), loop).result(60)

        with httpx.Client(timeout=15, trust_env=False) as http:

            class Run(Ballots):
                def teardown(self) -> None:
                    round.progress(round)

            Run.stage, Run.round, Run.http = stage, round, http
            Run.kill = staticmethod(kill) if kills else None
            limits = settings(
                max_examples=runs,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            )
            await asyncio.to_thread(run_state_machine_as_test, seed(round.seed)(Run), settings=limits)
        await stage.healed()
        round.notes.append(f"{runs:,} runs of {STEPS} steps" + (f", {struck} kills" if kills else ""))
        equal, said = await stage.recount()
        if not equal:
            round.verdict.drifted.append(said[-1500:])
        round.verdict.wrong += stage.traces()
