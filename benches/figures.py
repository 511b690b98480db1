"""The figures that were measured, and where they are kept between runs: build/measured.json.

Running a part of the scenarios replaces those figures and keeps the others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from estimate import Estimate

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "build" / "measured.json"
DIGITS = {"x": 3, "ns": 1, "%": 1}


@dataclass(frozen=True)
class Figure:
    """One measured value with its interval, its bound if it has one, and its interpreter."""

    topic: str
    scenario: str
    measure: str
    python: str
    value: float
    low: float
    high: float
    unit: str
    bound: float | None = None
    at_least: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what a later measurement of the same thing replaces."""
        return self.topic, self.scenario, self.measure, self.python

    @property
    def mark(self) -> str:
        """Tell how it stands to its bound: met, missed "(!)", or not decided "(?)"."""
        if self.bound is None:
            return ""
        worst, best = (self.low, self.high) if self.at_least else (self.high, self.low)
        sign = -1 if self.at_least else 1
        if sign * worst <= sign * self.bound:
            return ""
        return " (!)" if sign * best > sign * self.bound else " (?)"

    def number(self, value: float) -> str:
        """Return a value as the page prints it."""
        digits = DIGITS.get(self.unit, 1)
        if self.bound is None and self.unit == "x" and value >= 2:
            digits = 1
        return f"{value:.{digits}f}"

    def shown(self, *, interval: bool = False) -> str:
        """Return value, unit and mark; with its interval if asked for."""
        span = f" ({self.number(self.low)}..{self.number(self.high)})" if interval else ""
        return f"{self.number(self.value)}{self.unit}{span}{self.mark}"


def figure(
    topic: str,
    scenario: str,
    measure: str,
    python: str,
    estimate: Estimate,
    *,
    unit: str,
    bound: float | None = None,
    at_least: bool = False,
) -> Figure:
    """Make a figure of an estimate."""
    interval = (estimate.value, estimate.low, estimate.high)
    return Figure(topic, scenario, measure, python, *interval, unit, bound, at_least)


def merge(fresh: list[Figure], *, anew: bool) -> list[Figure]:
    """Record `fresh` in place of its predecessors, or of all there is, and return the record."""
    kept: dict[tuple[str, str, str, str], Figure] = {}
    if RECORD.exists() and not anew:
        rows = [Figure(**row) for row in json.loads(RECORD.read_text())]
        kept = {row.key: row for row in rows}
    kept.update({row.key: row for row in fresh})
    figures = list(kept.values())
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps([asdict(row) for row in figures], indent=1) + "\n")
    return figures


def versions_of(figures: list[Figure]) -> list[str]:
    """Return the interpreters of some figures, oldest first."""
    return sorted({row.python for row in figures}, key=lambda name: int(name[2:]))


def rows_of(figures: list[Figure]) -> dict[tuple[str, str], dict[str, Figure]]:
    """Return the figures by scenario and measure, in order, then by interpreter."""
    rows: dict[tuple[str, str], dict[str, Figure]] = {}
    for row in figures:
        rows.setdefault((row.scenario, row.measure), {})[row.python] = row
    # A figure measured alone comes last in the record but belongs to its scenario.
    order = list(dict.fromkeys(scenario for scenario, _ in rows))
    return dict(sorted(rows.items(), key=lambda item: order.index(item[0][0])))


def table(figures: list[Figure], *, interval: bool = False) -> str:
    """Lay figures out as Markdown: a row per measure, a column per interpreter."""
    versions = versions_of(figures)
    bounded = any(row.bound is not None for row in figures)
    head = ["", *(["bound"] if bounded else []), *versions]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (scenario, measure), cells in rows_of(figures).items():
        some = next(iter(cells.values()))
        shown = [
            cells[name].shown(interval=interval) if name in cells else "-" for name in versions
        ]
        if bounded:
            bound = "-"
            if some.bound is not None:
                bound = f"{'>=' if some.at_least else '<='} {some.bound:g}{some.unit}"
            shown.insert(0, bound)
        lines.append(f"| {scenario}: {measure} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"
