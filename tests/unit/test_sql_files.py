"""The files below ``sql/``, and what is refused there."""

from pathlib import Path

import pytest

from app.adapters.sql import query_files as sql


def test_both_dialects_have_the_same_queries_with_the_same_parameters() -> None:
    mysql, sqlite = sql.load_queries("mysql"), sql.load_queries("sqlite")
    assert mysql
    assert {q.name: q.parameters for q in mysql.values()} == {q.name: q.parameters for q in sqlite.values()}


def test_both_dialects_have_the_same_migrations_with_the_same_checksums() -> None:
    mysql, sqlite = sql.load_migrations("mysql"), sql.load_migrations("sqlite")
    assert [(m.name, m.checksum, len(m.statements)) for m in mysql] == [
        (m.name, m.checksum, len(m.statements)) for m in sqlite
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- name: a.b\nSELECT 1;", "purpose"),
        ("-- name: a.b\n-- Why.\n", "purpose"),
        ("-- name: a.b\n-- Why.\nSELECT {{nothing}};", "unknown macro"),
        ("-- name: a.b\n-- Why.\nSELECT {{new(a, b)}};", "wrong arguments"),
        ("-- name: a.b\n-- Why.\nSELECT {{new(};", "broken macro"),
        ("-- name: a.b\n-- Why.\nSELECT 1; SELECT 2;", "more than one"),
        ("-- name: a.b, oracle\n-- Why.\nSELECT 1;", "unknown dialect"),
        ("-- name: A b\n-- Why.\nSELECT 1;", "cannot read"),
        ("SELECT 1;", "without a name"),
        ("-- name: a.b\n-- Why.\nSELECT 1;\n-- name: a.b\n-- Why.\nSELECT 2;", "twice"),
    ],
)
def test_a_bad_query_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.sql").write_text(text)
    with pytest.raises(sql.SqlFileError, match=why):
        sql.load_queries("sqlite", tmp_path)


def test_parameters_take_the_style_of_the_driver(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- name: a.b\n-- Why.\nSELECT 100 % :n AS rest WHERE :n > 1;\n")
    assert sql.load_queries("sqlite", tmp_path)["a.b"].text == "SELECT 100 % :n AS rest WHERE :n > 1"
    mysql = sql.load_queries("mysql", tmp_path)["a.b"]
    assert mysql.text == "SELECT 100 %% %(n)s AS rest WHERE %(n)s > 1"
    assert mysql.prepared == "SELECT 100 % ? AS rest WHERE ? > 1"
    assert mysql.parameters == {"n"}
