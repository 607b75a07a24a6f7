"""The reference of the Lua scripts names every script."""

from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "app" / "adapters" / "redis" / "scripts"


def test_reference_has_a_row_for_each_script_and_none_for_others() -> None:
    rows = {
        line.split("`")[1].removesuffix(".lua")
        for line in (SCRIPTS / "README.md").read_text().splitlines()
        if line.startswith("| `")
    }
    rows = {name for name in rows if not name.startswith(("KEYS", "ARGV", "{"))}
    assert rows == {path.stem for path in SCRIPTS.glob("*.lua")}
