"""Dead relative links and anchors in the Markdown files of this repository."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent


@cache
def tokens(path: Path) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(path.read_text())


def inner(block: list[Token]) -> Iterator[Token]:
    for token in block:
        yield token
        yield from inner(token.children or [])


@cache
def anchors(path: Path) -> frozenset[str]:
    """As GitHub makes them: lower case, no punctuation, ``-`` for a space, a number after a repeated one."""
    seen: dict[str, int] = {}
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', path.read_text()))
    block = tokens(path)
    for opening, content in pairwise(block):
        if opening.type == "heading_open":
            text = "".join(t.content for t in content.children or [] if t.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = seen.get(slug, 0)
            seen[slug] = number + 1
            found.add(f"{slug}-{number}" if number else slug)
    return frozenset(found)


def dead_links(path: Path) -> Iterator[str]:
    for token in inner(tokens(path)):
        target = str(token.attrGet("href") or token.attrGet("src") or "")
        link = urlsplit(target)
        if not target or link.scheme or link.netloc:
            continue
        if link.path.startswith("/"):
            yield f"{target} (use a relative link)"
            continue
        file = (path.parent / unquote(link.path)).resolve() if link.path else path
        if not file.exists() or not file.is_relative_to(ROOT):
            yield target
        elif link.fragment and file.suffix == ".md" and unquote(link.fragment) not in anchors(file):
            yield f"{target} (no such heading)"


def main() -> int:
    files = (path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.md")))
    own = [name for name in files if not any(part.startswith(".") or part == "data" for part in name.parts)]
    dead = [f"{name}: {link}" for name in own for link in dead_links(ROOT / name)]
    print("\n".join(dead) if dead else "no dead links")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
