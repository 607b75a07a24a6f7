"""SQL from files: ``sql/migrations/NNNN_name.sql`` and the named queries of ``sql/queries/*.sql``.

One text serves both dialects. Where they differ stands in ``MACROS`` alone, used as ``{{name}}`` or ``{{name(a, b)}}``;
a query that differs as a whole is written once a dialect (``-- name: poll.raise_seq, sqlite``).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Dialect = Literal["mysql", "sqlite"]
DIALECTS: Final[tuple[Dialect, ...]] = ("mysql", "sqlite")

_ASCII: Final = "CHARACTER SET ascii COLLATE ascii_bin"

# Name -> what it stands for in MySQL and MariaDB, and in SQLite (which compares text byte by byte anyway).
MACROS: Final[Mapping[str, tuple[Callable[..., str], Callable[..., str]]]] = {
    "id": (lambda: f"VARCHAR(64) {_ASCII}", lambda: "TEXT"),
    "bytes": (lambda n: f"VARBINARY({n})", lambda n: "TEXT"),
    "table": (lambda: "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin", lambda: ""),
    "for_update": (lambda: "FOR UPDATE", lambda: ""),
    # MariaDB knows no "AS new", MySQL no "ON CONFLICT".
    "upsert": (
        lambda *key: "ON DUPLICATE KEY UPDATE",
        lambda *key: f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET",
    ),
    "new": (lambda column: f"VALUES({column})", lambda column: f"excluded.{column}"),
    # A JSON list of ids as the table list(value); of [id, number] as the table pairs(id, value).
    "list": (
        lambda p: f"JSON_TABLE(:{p}, '$[*]' COLUMNS (value VARCHAR(64) {_ASCII} PATH '$')) AS list",
        lambda p: f"json_each(:{p}) AS list",
    ),
    "pairs": (
        lambda p: (
            f"JSON_TABLE(:{p}, '$[*]' COLUMNS (id VARCHAR(64) {_ASCII} PATH '$[0]', value BIGINT PATH '$[1]'))"
            " AS pairs"
        ),
        lambda p: (
            "(SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS value"  # noqa: S608
            f" FROM json_each(:{p})) AS pairs"
        ),
    ),
}

_MACRO: Final = re.compile(r"\{\{\s*(\w+)\s*(?:\(([^()]*)\))?\s*\}\}")
_NAME: Final = re.compile(r"^-- name: (?P<name>[a-z_]+\.[a-z_]+)(?:, (?P<dialect>\w+))?$")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)\b")


class SqlFileError(Exception):
    """A file below ``sql/`` is not as it must be."""


@dataclass(frozen=True)
class Query:
    """``text`` in the driver's own parameter style; ``prepared`` with ``?`` for each parameter."""

    name: str
    purpose: str
    text: str
    prepared: str
    parameters: frozenset[str]


@dataclass(frozen=True)
class Migration:
    """``checksum``: SHA-256 of the file's bytes, in hex."""

    name: str
    checksum: str
    statements: tuple[str, ...]


def folder() -> Path:
    """Inside the wheel the files lie below the package, in a working tree beside it."""
    package = Path(__file__).parents[2]
    inside = package / "_sql"
    return inside if inside.is_dir() else package.parent / "sql"


def expand(text: str, dialect: Dialect) -> str:
    def one(match: re.Match[str]) -> str:
        name, arguments = match.group(1), match.group(2)
        if name not in MACROS:
            raise SqlFileError(f"unknown macro {match.group()}")
        try:
            return MACROS[name][DIALECTS.index(dialect)](
                *(a.strip() for a in (arguments or "").split(",") if a)
            )
        except TypeError as error:
            raise SqlFileError(f"wrong arguments in {match.group()}") from error

    text = _MACRO.sub(one, text)
    if "{{" in text or "}}" in text:
        raise SqlFileError(f"broken macro in: {text}")
    return text


def query(name: str, purpose: str, text: str, dialect: Dialect) -> Query:
    text = expand(text, dialect).strip().removesuffix(";")
    if ";" in text:
        raise SqlFileError(f"{name}: more than one statement")
    native = text
    if dialect == "mysql":
        native = _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))
    return Query(
        name,
        purpose,
        native,
        _PARAMETER.sub("?", text),
        frozenset(m.group(1) for m in _PARAMETER.finditer(text)),
    )


def load_queries(dialect: Dialect, path: Path | None = None) -> dict[str, Query]:
    """All named queries for the dialect. ``SqlFileError`` for a missing purpose, a double name, an unknown macro."""
    found: dict[str, Query] = {}
    for file in sorted((path or folder() / "queries").glob("*.sql")):
        for name, only, lines in _blocks(file):
            if only is not None and only not in DIALECTS:
                raise SqlFileError(f"{file.name}: {name}: unknown dialect {only}")
            purpose, text = _split(lines)
            if not purpose or not text:
                raise SqlFileError(f"{file.name}: {name}: needs a purpose line and a statement")
            if only not in (None, dialect):
                continue
            if name in found:
                raise SqlFileError(f"{file.name}: {name}: defined twice")
            found[name] = query(name, purpose, text, dialect)
    return found


def load_migrations(dialect: Dialect, path: Path | None = None) -> list[Migration]:
    """All migrations in their order, one statement after another."""
    migrations = []
    for file in sorted((path or folder() / "migrations").glob("*.sql")):
        if not re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", file.name):
            raise SqlFileError(f"{file.name}: must be named NNNN_name.sql")
        content = file.read_bytes()
        _, text = _split(content.decode().splitlines())
        statements = tuple(s.strip() for s in expand(text, dialect).split(";") if s.strip())
        migrations.append(Migration(file.stem, hashlib.sha256(content).hexdigest(), statements))
    numbers = [migration.name[:4] for migration in migrations]
    if len(set(numbers)) != len(numbers):
        raise SqlFileError("two migrations have the same number")
    return migrations


def _blocks(file: Path) -> list[tuple[str, str | None, list[str]]]:
    blocks: list[tuple[str, str | None, list[str]]] = []
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("-- name:"):
            match = _NAME.match(line)
            if match is None:
                raise SqlFileError(f"{file.name}: cannot read {line!r}")
            blocks.append((match["name"], match["dialect"], []))
        elif blocks:
            blocks[-1][2].append(line)
        elif line.strip() and not line.startswith("--"):
            raise SqlFileError(f"{file.name}: a statement without a name")
    return blocks


def _split(lines: list[str]) -> tuple[str, str]:
    """Comment lines, and the rest."""
    comments = [line.strip().removeprefix("--").strip() for line in lines if line.strip().startswith("--")]
    code = [line for line in lines if not line.strip().startswith("--")]
    return " ".join(comments), "\n".join(code).strip()
