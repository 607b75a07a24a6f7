"""The wheel, built from the sdist: the folder app/ as the package `pollroom`, with its SQL and Lua files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel made from the sdist, installed beside a foreign package named `app`."""
    folder = tmp_path_factory.mktemp("wheel")
    python(ROOT, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder))
    (sdist,) = folder.glob("pollroom-*.tar.gz")
    python(folder, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", str(sdist))
    (wheel,) = folder.glob("pollroom-*.whl")
    site = folder / "site"
    install = ["-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target"]
    python(folder, *install, str(site), str(wheel))
    (site / "app").mkdir()
    (site / "app" / "__init__.py").write_text("raise ImportError('this is somebody else')")
    return site


def pollroom(site: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [sys.executable, str(site / "bin" / "pollroom"), *command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
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
    pages = {
        path.name for path in (ROOT / "app" / "web").rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert {path.name for path in (package / "web").rglob("*") if path.suffix != ".pyc"} >= pages
    installed_names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert installed_names == {"app", "bin", "pollroom"}
