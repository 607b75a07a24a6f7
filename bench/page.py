"""docs/benchmarks.md and its chart, from the results of a run."""

import json
import statistics
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from bench import machine
from bench.report import Line, Results, Samples, number

KEPT: Final = "benchmarks.json"
"""Beside the page: the results of each row's last run, so that rows can be run one by one."""

BAR, GAP, LEFT, WIDTH = 16, 5, 330, 880
OURS, OTHERS, FLOOR = "#0b6e4f", "#9aa5b1", "#d9822b"


def write(folder: Path, results: Results) -> None:
    """Take the results over, row by row, and write page and chart anew."""
    folder.mkdir(parents=True, exist_ok=True)
    kept_file = folder / KEPT
    kept = json.loads(kept_file.read_text()) if kept_file.exists() else {}
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    for row in dict.fromkeys([*(line.row for line in results.lines), *results.notes]):
        kept[row] = {
            "date": day,
            "lines": [line.__dict__ for line in results.lines if line.row == row],
            "disturbed": results.disturbed.get(row, 0.0),
            "notes": results.notes.get(row, []),
            "samples": [samples.__dict__ for samples in results.samples if samples.row == row],
        }
    kept_file.write_text(json.dumps(kept, indent=1) + "\n")
    samples = [Samples(**one) for row in kept.values() for one in row["samples"]]
    (folder / "benchmarks.svg").write_text(chart([one for one in samples if len(one.values) > 1]))
    (folder / "benchmarks.md").write_text(page(kept, folder))


def page(kept: dict[str, dict[str, object]], folder: Path) -> str:
    """``kept``: row -> date, lines, samples, notes. What stands below the mark is written by people and kept."""
    text = [
        "# Benchmarks",
        "",
        "Written by `scripts/bench`; one row again: `scripts/bench --only ROW`. CPU is a process's own time, user and system:",
        "a busy machine moves it less than speed. Everything of a row is measured in turns within one run, medians of its",
        "rounds; the ratio is measured to goal. Below, *others* is the share of the cores that went to processes which are not",
        "the benchmark's, from a row's beginning to its end: speeds and latencies of rows with much of it say little.",
        "",
        *machine.description(),
        "",
        "| row | what | goal | measured | ratio | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in kept.items():
        for raw in row["lines"]:  # type: ignore[attr-defined]
            line = Line(**raw)
            ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
            verdict = {None: "", True: "reached", False: "**missed**"}[line.reached]
            what = line.what.replace("  ", "&emsp;")
            measured = f"{number(line.value)} {line.unit}".strip()
            text.append(f"| {name} | {what} | {line.goal} | {measured} | {ratio} | {verdict} |")
    text += ["", "![Who was measured beside whom](benchmarks.svg)", "", "## Every contender", ""]
    text += [
        "| row | what | who | median | lowest to highest | rounds | others | date |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | --- |",
    ]
    for name, row in kept.items():
        others = f"{row['disturbed']:.0%}" if "disturbed" in row else "not known"
        for raw in row["samples"]:  # type: ignore[attr-defined]
            samples = Samples(**raw)
            for who, values in samples.values.items():
                middle, spread = (
                    number(statistics.median(values)),
                    f"{number(min(values))} to {number(max(values))}",
                )
                text.append(
                    f"| {name} | {samples.title}, {samples.unit} | {who} | {middle} | {spread} "
                    f"| {len(values)} | {others} | {row['date']} |"
                )
    for name, row in kept.items():
        for note in row["notes"]:  # type: ignore[attr-defined]
            text += ["", f"## {name.capitalize()}", "", "```text", note, "```"]
    old = folder / "benchmarks.md"
    mark = "<!-- Below this line nothing is overwritten. -->"
    below = old.read_text().partition(mark)[2] if old.exists() else "\n"
    return "\n".join([*text, "", mark]) + below


def chart(samples: list[Samples]) -> str:
    """Bars of the medians, one group a row that has several contenders."""
    parts: list[str] = []
    y = 10
    for one in samples:
        parts.append(
            f'<text x="10" y="{y + 14}" font-weight="bold">{escape(one.title)}, {escape(one.unit)}</text>'
        )
        y += 24
        highest = max(statistics.median(values) for values in one.values.values()) or 1
        for who, values in one.values.items():
            value = statistics.median(values)
            wide = (WIDTH - LEFT - 90) * value / highest
            colour = OURS if who == "Pollroom" else FLOOR if "floor" in who else OTHERS
            parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(who)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + wide + 6:.1f}" y="{y + 12}">{number(value)}</text>')
            y += BAR + GAP
        y += 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
    style = 'font-family="system-ui, sans-serif" font-size="13">'
    back = f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>'
    return head + style + back + "".join(parts) + "</svg>\n"
