"""``python -m app simulate`` against a real server: what it finds is what the server counted."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.simulate import addresses
from tools.harness.process import ROOT, Server, environment, run, serving
from tools.servers import free_port


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("embedded")) as server:
        yield server


def start(*options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "app", "simulate", "--json", *options],
        cwd=ROOT,
        env=environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def everybody_counted(report: dict[str, Any], voters: int) -> None:
    assert report["acked"] == voters and report["equal"], report
    assert report["unknown"] == report["unseen"] == 0, report
    assert report["failed"] == report["refused"] == report["broken"] == {}, report
    assert report["upToDate"] == voters, report
    for poll in report["results"]:
        assert all(tally == poll["acked"] for tally in poll["tallies"].values()), poll
        assert poll["voters"] == sum(poll["acked"].values()), poll
    assert sum(poll["voters"] for poll in report["results"]) == voters, report


def test_every_vote_is_counted_and_json_is_all_of_stdout(embedded: Server) -> None:
    with start("--voters", "20", "--polls", "2", "--seconds", "1", "--url", embedded.url()) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out)
    everybody_counted(report, 20)
    assert len(report["results"]) == 2 and report["lost"] == report["resent"] == {}, report
    assert report["ack"]["count"] == report["visible"]["count"] == 20, report
    assert 0 < report["ack"]["p50"] <= report["ack"]["p99"] <= report["ack"]["max"], report
    assert "votes: 20 of 20" in err and "tally = acked: equal" in err, err
    assert "\x1b" not in out + err, "escape sequences where there is no terminal"


def test_without_json_people_read_it_on_stdout(embedded: Server) -> None:
    options = [
        "--voters",
        "3",
        "--polls",
        "1",
        "--seconds",
        "0",
        "--instances",
        f"{embedded.url()}/,{embedded.url()}",
    ]
    ended = run(["simulate", *options], {})
    assert ended.returncode == 0, ended.stdout
    assert "3 of 3 votes acknowledged, 0 refused, 0 not known" in ended.stdout
    assert ended.stdout.endswith("tally = acked: equal\n")


def test_a_server_killed_under_it_loses_no_vote(tmp_path: Path) -> None:
    """kill -9 while they vote, and a start on the same port: clients come back and send what was not answered again."""
    voters = 300
    with serving(tmp_path) as server:
        options = ["--voters", str(voters), "--polls", "2", "--seconds", "5", "--url", server.url(0)]
        with start(*options) as process:
            assert process.stderr is not None and process.stdout is not None
            seen = []
            for line in process.stderr:
                seen.append(line)
                if re.match(r"votes: [1-9]", line):
                    break
            assert process.poll() is None and f"{voters} of {voters}" not in seen[-1], seen
            server.kill()
            server.start()
            rest = process.stderr.read()
            out = process.stdout.read()
            assert process.wait(60) == 0, (seen, rest)
        report = json.loads(out)
        everybody_counted(report, voters)
        assert report["lost"]["1006"] >= voters, report
        assert report["absent"]["count"] == voters, report


def test_a_server_that_is_not_there_is_said_in_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = run(["simulate", "--voters", "1", "--url", url, "--patience", "1"], {})
    assert ended.returncode == 1
    assert f"{url} does not answer" in ended.stdout and "Traceback" not in ended.stdout


def test_a_server_that_is_not_there_is_reported_at_once() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with start("--voters", "1", "--url", url) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.kill()
    assert f"{url} does not answer" in line and "trying for" in line, line


@pytest.mark.parametrize(
    "options", [["--voters", "0"], ["--voters", "20001"], ["--polls", "1001"], ["--url", "ws://x"]]
)
def test_limits_are_refused_before_anything_is_sent(options: list[str]) -> None:
    ended = run(["simulate", *options], {})
    assert ended.returncode == 2 and "Error: " in ended.stdout, ended.stdout


@pytest.mark.parametrize("text", ["", ",", "localhost:8000", "http://", "http://h:99999", "http://h?x=1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        addresses(text)


def test_addresses() -> None:
    assert addresses("http://a:1/, https://b/under/") == ("http://a:1", "https://b/under")


def test_a_crowd_answers_a_deck_while_the_host_moves_on(embedded: Server) -> None:
    options = ["--voters", "30", "--deck", "4", "--seconds", "1", "--url", embedded.url()]
    with start(*options) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert report["equal"] and len(report["results"]) == report["polls"] == 4, report
    assert report["unknown"] == report["unseen"] == 0 and report["failed"] == report["broken"] == {}, report
    assert report["ballots"] == 120 == report["acked"] + sum(report["refused"].values()), report
    assert set(report["refused"]) <= {"POLL_CLOSED"}, report
    for poll in report["results"]:
        assert all(tally == poll["acked"] for tally in poll["tallies"].values()), poll
        assert poll["voters"] == sum(poll["acked"].values()) > 0, poll
    assert report["upToDate"] == 30, report
