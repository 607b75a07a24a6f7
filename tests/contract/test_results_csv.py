"""``GET /polls/{id}/results.csv``."""

import csv
import io

import pytest

from tools.harness.http import Api, Person

pytestmark = pytest.mark.anyio

LABELS = ["Tea, black", '"Mate"', "=HYPERLINK(1)", "+1", "-1", "@you", "Café ☕"]


async def test_results_are_a_table_whose_cells_are_no_formulas(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await api.poll(owner, guests=True, options=LABELS)
    first = poll["options"][0]["id"]
    voted = await api.call("POST", f"/polls/{poll['id']}/votes", {"optionId": first}, guest)
    assert voted.status_code == 201
    answer = await api.get(f"/polls/{poll['id']}/results.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["optionId", "label", "votes"]
    assert [row[0] for row in rows[1:]] == [option["id"] for option in poll["options"]]
    assert [row[2] for row in rows[1:]] == ["1", *["0"] * 6]
    assert [row[1] for row in rows[1:]] == [
        "Tea, black",
        '"Mate"',
        "'=HYPERLINK(1)",
        "'+1",
        "'-1",
        "'@you",
        "Café ☕",
    ]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


async def test_hidden_results_are_no_table(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, resultsVisibility="owner")
    path = f"/polls/{poll['id']}/results.csv"
    refused = await api.get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert (await api.get(path, owner)).status_code == 200
    missing = await api.get("/polls/nothing/results.csv")
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")


async def test_excel_gets_a_byte_order_mark_and_crlf_and_others_neither(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=["Café", "＝1", "＋1", "－1", "＠you"])
    path = f"/polls/{poll['id']}/results.csv"
    plain = (await api.get(path)).content
    assert not plain.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in plain
    excel = (await api.get(f"{path}?excel=1")).content
    assert excel.startswith(b"\xef\xbb\xbf")
    assert excel.count(b"\n") == excel.count(b"\r\n") == 6
    assert excel.decode("utf-8-sig").replace("\r\n", "\n") == plain.decode()
    assert [row[1] for row in csv.reader(io.StringIO(plain.decode()))][1:] == [
        "Café",
        "'＝1",
        "'＋1",
        "'－1",
        "'＠you",
    ]
