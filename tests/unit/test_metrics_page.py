"""``docs/metrics.md`` against the metrics that the code defines."""

import re

from tools.harness.process import ROOT

CODE = (ROOT / "app" / "bootstrap" / "metrics.py").read_text()
PAGE = (ROOT / "docs" / "metrics.md").read_text()


def test_the_page_names_every_metric() -> None:
    counters = set(re.findall(r'CounterMetricFamily\(\s*"(\w+)"', CODE))
    defined = {
        f"{name}_total" if name in counters else name for name in re.findall(r'"(pollroom_\w+)"', CODE)
    }
    assert set(re.findall(r"^\| `(pollroom_\w+)`", PAGE, re.MULTILINE)) == defined
