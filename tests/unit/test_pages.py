"""The pages' files: vendored ones are unchanged, and each language has every text."""

import hashlib
import json
import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "app" / "web"
ASSETS = WEB / "assets"
VENDORED = re.findall(r"\| `(\S+)` \|.*`(\w{64})`", (ASSETS / "vendor" / "README.md").read_text())
LANGUAGES = sorted(ASSETS.glob("??.json"))
SCRIPTS = list(ASSETS.glob("*.js"))


def texts(path: Path) -> dict[str, str | dict[str, str]]:
    found: dict[str, str | dict[str, str]] = json.loads(path.read_text())
    return found


def slots(text: str | dict[str, str]) -> list[set[str]]:
    forms = [text] if isinstance(text, str) else list(text.values())
    return [set(re.findall(r"\{(\w+)\}", form)) for form in forms]


def test_every_vendored_file_is_listed_with_its_checksum() -> None:
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ASSETS / "vendor").glob("*.js")
    }
    assert files == dict(VENDORED)


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_a_language_has_every_text_with_the_same_values_in_it(path: Path) -> None:
    english, other = texts(ASSETS / "en.json"), texts(path)
    assert english.keys() == other.keys()
    for key, text in english.items():
        assert isinstance(text, str) == isinstance(other[key], str), key
        allowed = set().union(*slots(text))
        assert all(found <= allowed for found in slots(other[key])), key
        assert slots(other[key])[-1] == slots(text)[-1], key


def test_every_text_that_the_pages_ask_for_is_there_and_used() -> None:
    english = texts(ASSETS / "en.json")
    code = "\n".join(path.read_text() for path in SCRIPTS)
    asked = set(re.findall(r"\bt\(\"(\w+)\"", code))
    assert asked <= english.keys(), asked - english.keys()
    words = set(re.findall(r"\"(\w+)\"", code))
    begun = tuple(re.findall(r"\bt\(`(\w+_)\$\{", code))
    unused = {key for key in english if key not in words and not key.startswith(begun)}
    assert not unused


def test_no_file_loads_anything_from_another_host() -> None:
    for path in [*WEB.rglob("*.js"), *WEB.rglob("*.css")]:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", code)
        assert {link for link in found if not link.startswith("http://www.w3.org/")} == set(), path
