"""The lists in ``docs/development.md`` of what to change name files that exist and what is in them."""

import re
from pathlib import Path

import pytest

from tools.harness.process import ROOT

DOCS = ROOT / "docs"
LISTS = (DOCS / "development.md").read_text().partition("## How to add things")[2].partition("\n## ")[0]
ITEMS = [" ".join(item.split()) for item in re.findall(r"^\d\. (.*(?:\n {3}.*)*)", LISTS, re.MULTILINE)]


def linked(item: str) -> list[Path]:
    targets = re.findall(r"\]\(([^)#]+)", item)
    return [path for target in targets if "docs" not in (path := (DOCS / target).resolve()).parts[-2:-1]]


def text_of(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    assert files, f"{path.relative_to(ROOT)} does not exist"
    return "\n".join([*(file.name for file in files), *(file.read_text() for file in files)])


NAMED = [item for item in ITEMS if linked(item) and "`" in item]


def test_there_are_names_to_look_for() -> None:
    assert len(NAMED) >= 12, ITEMS


@pytest.mark.parametrize("item", NAMED)
def test_the_files_of_a_step_contain_the_names_beside_them(item: str) -> None:
    text = "\n".join(map(text_of, linked(item)))
    names = re.findall(r"`([\w.]+)`", item)
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)] == []
