import re
from pathlib import Path

from app.bootstrap.setting_table import SETTINGS

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_example_names_every_setting_with_its_default() -> None:
    lines = EXAMPLE.read_text().splitlines()
    named = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9_]+=", line))
    assert named == {name: setting.default for name, setting in SETTINGS.items()}


def test_every_setting_has_one_line_of_why() -> None:
    blocks = EXAMPLE.read_text().split("\n\n", 1)[1].splitlines()
    assert len(blocks) == 2 * len(SETTINGS)
    assert all(line.startswith("# ") and len(line) > 20 for line in blocks[::2])
