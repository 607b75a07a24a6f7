"""``docs/README.md`` links every page of the documentation."""

import re

from tools.harness.process import ROOT

DOCS = ROOT / "docs"


def test_the_index_links_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)", (DOCS / "README.md").read_text()))
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"README.md"}
    assert pages <= linked, sorted(pages - linked)
