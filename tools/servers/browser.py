"""Debian's Chromium, for Playwright."""

from tools.servers.programs import program

ARGUMENTS = [
    "--no-sandbox",  # root, as in containers, has none
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]


def chromium_program() -> str:
    """Raises ``Missing``."""
    return program("chromium", "chromium-browser", "google-chrome", of="chromium")
