"""The figures that were measured: kept in build/bench.json, shown in docs/performance.md.

Running a part of the scenarios replaces those figures and keeps the others.
"""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
MEASURED = re.compile(r"(<!-- measured:begin -->\n).*?(<!-- measured:end -->)", re.DOTALL)

HOW = """# Measured performance

`make bench` writes this page; do not edit it.
Ratios are the median over paired runs: each round runs every arm once, one after the other, each in
a fresh process, and an arm is divided by the plain run of the same round.
A program measures itself in processor time, the best of a few repetitions, so start-up is outside.
"Cold" is a breakpoint in a function that is not called; "hot" is one on every line, marked in
`benches/programs`, that the hot functions never reach.

Machine: {machine}, {cores} cores, {system}.

"""


@dataclass(frozen=True)
class Figure:
    """One measured value, the bound it is held to, and the interpreter it was measured on."""

    scenario: str
    measure: str
    python: str
    value: float
    unit: str
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Tell whether the value is on the right side of its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def shown(self) -> str:
        """Return the value as the page prints it."""
        digits = 3 if self.unit in ("x", "") else 1
        return f"{self.value:.{digits}f}{self.unit}" + ("" if self.holds else " (!)")


def read() -> list[Figure]:
    """Return the figures of earlier runs."""
    if not RECORD.exists():
        return []
    return [Figure(**row) for row in json.loads(RECORD.read_text())]


def merge(fresh: list[Figure]) -> list[Figure]:
    """Return the earlier figures with `fresh` ones in place of their predecessors."""
    kept = {(row.scenario, row.measure, row.python): row for row in read()}
    kept.update({(row.scenario, row.measure, row.python): row for row in fresh})
    return list(kept.values())


def table(figures: list[Figure]) -> str:
    """Lay the figures out as Markdown: a row per measure, a column per interpreter."""
    versions = sorted({row.python for row in figures}, key=lambda name: int(name[2:]))
    rows = ["| | bound | " + " | ".join(versions) + " |", "|---|---|" + "---|" * len(versions)]
    for key in dict.fromkeys((row.scenario, row.measure) for row in figures):
        cells = {row.python: row for row in figures if (row.scenario, row.measure) == key}
        some = next(iter(cells.values()))
        bound = f"{'>=' if some.at_least else '<='} {some.bound:g}{some.unit}"
        values = [cells[name].shown() if name in cells else "-" for name in versions]
        rows.append(f"| {key[0]}: {key[1]} | {bound} | " + " | ".join(values) + " |")
    return "\n".join(rows) + "\n"


def write(fresh: list[Figure]) -> None:
    """Record the figures and rewrite the page and the README's table."""
    figures = merge(fresh)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps([asdict(row) for row in figures], indent=1) + "\n")
    laid_out = table(figures)
    head = HOW.format(
        machine=platform.machine(),
        cores=os.cpu_count(),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
    )
    PAGE.write_text(head + laid_out)
    text = README.read_text()
    README.write_text(MEASURED.sub(lambda match: match[1] + laid_out + match[2], text))
