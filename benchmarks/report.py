"""From results to a file, a table and plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.timing import Figure

BAR, GAP, LEFT, WIDTH = 22, 8, 300, 760
OURS, THEIRS, TEXT = "#2563eb", "#9ca3af", "#374151"


def as_data(figure: Figure) -> dict[str, Any]:
    low, high = figure.spread
    return {
        "work": figure.work,
        "against": figure.against,
        "ours": figure.ours,
        "theirs": figure.theirs,
        "ratio": round(figure.median, 3),
        "lowest": round(low, 3),
        "highest": round(high, 3),
        "rounds": len(figure.ratios),
        "target": figure.target,
        "at_most": figure.at_most,
        "met": figure.met,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown, from data as written."""
    lines = [
        "| work | against | ours | theirs | ratio | spread | rounds | target | reached |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target = "" if row["target"] is None else f"{'≤' if row['at_most'] else '≥'} {row['target']:g}"
        reached = {None: "", True: "yes", False: "**no**"}[row["met"]]
        spread = f"{row['lowest']:.2f} to {row['highest']:.2f}"
        cells = [row["work"], row["against"], row["ours"], row["theirs"], f"{row['ratio']:.2f}", spread]
        lines.append(f"| {' | '.join([*cells, str(row['rounds']), target, reached])} |")
    return "\n".join(lines) + "\n"


def plain_table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def bars(title: str, unit: str, values: list[tuple[str, float, bool]]) -> str:
    """A plot of bars, as SVG: a label, a value, and whether it is ours."""
    longest = max((value for _, value, _ in values), default=1.0) or 1.0
    height = 40 + len(values) * (BAR + GAP) + 10
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="24" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for number, (label, value, ours) in enumerate(values):
        top = 40 + number * (BAR + GAP)
        width = max(1.0, value / longest * (WIDTH - LEFT - 110))
        parts += [
            f'<text x="{LEFT - 10}" y="{top + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{OURS if ours else THEIRS}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{top + 16}">{value:.3g} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def write_results(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
