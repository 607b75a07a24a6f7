"""The wheel: the folder app/ as the package `pollroom`, with its SQL and Lua files."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built wheel, unpacked, beside a foreign package named `app`."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    made = subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (wheel,) = folder.glob("pollroom-*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (site / "app").mkdir()
    (site / "app" / "__init__.py").write_text("raise ImportError('this is somebody else')")
    return site


def pollroom(site: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-m", "pollroom", *command], cwd=folder, env=environ, capture_output=True, text=True
    )


def test_the_installed_command_migrates_with_the_sql_that_it_carries(installed: Path, tmp_path: Path) -> None:
    migrated = pollroom(installed, tmp_path, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert migrated.stdout.endswith("migrations applied\n")
    helped = pollroom(installed, tmp_path, "--help")
    assert "serve" in helped.stdout, helped.stderr


def test_the_wheel_carries_what_is_read_at_run_time_and_no_tests(installed: Path) -> None:
    package = installed / "pollroom"
    assert (package / "py.typed").is_file()
    carried = {path.name for path in (package / "adapters" / "redis" / "scripts").glob("*.lua")}
    assert carried == {path.name for path in (ROOT / "app" / "adapters" / "redis" / "scripts").glob("*.lua")}
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"app", "pollroom"}
