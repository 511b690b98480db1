"""Dot plots as SVG text: a row per thing measured, a dot per interpreter.

The text depends on the values alone, uses the fonts of the page, has no background of its own and
follows the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

WIDTH = 760
LEFT = 250
RIGHT = 24
ROW = 24
# Dots of one row lie a little below each other: equal values stay visible.
APART = 3
TOP = 52
BOTTOM = 30
# Told apart in both schemes and with impaired colour vision; the legend names them.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}"
    ".h{font-size:14px;font-weight:600}.e{text-anchor:end}.m{text-anchor:middle}"
    "line{stroke:#8c959f;stroke-opacity:.35}.o{stroke-opacity:1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
)

Rows = Mapping[str, Mapping[str, float]]


def ticks_of(low: float, high: float, *, log: bool) -> list[float]:
    """Return round numbers from one at or below `low` to one at or above `high`."""
    if not log:
        power = 10.0 ** math.floor(math.log10(high))
        step = next(power * part for part in (0.2, 0.5, 1, 2) if high / power / part <= 6)
        return [step * count for count in range(math.ceil(high / step) + 1)]
    # Close to one, what matters are a few hundredths.
    fine = (0.5, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2)
    wide = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
    scale = fine if fine[0] <= low and high <= fine[-1] else wide
    first = max(index for index, tick in enumerate(scale) if tick <= low)
    last = min(index for index, tick in enumerate(scale) if tick >= high)
    return list(scale[first : max(last, first + 1) + 1])


def dot_plot(title: str, rows: Rows, unit: str, *, log: bool) -> str:
    """Return the plot of `rows`: label to interpreter to value."""
    values = [value for cells in rows.values() for value in cells.values()]
    ticks = ticks_of(min(values), max(values), log=log)
    scaled = math.log if log else float

    def across(value: float) -> float:
        start, end = scaled(ticks[0]), scaled(ticks[-1])
        return LEFT + (scaled(value) - start) / (end - start) * (WIDTH - LEFT - RIGHT)

    names = sorted(
        {name for cells in rows.values() for name in cells}, key=lambda name: int(name[2:])
    )
    colours = dict(zip(names, COLOURS, strict=False))
    height = TOP + ROW * len(rows) + BOTTOM
    foot = height - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="h" x="8" y="20">{escape(title)}</text>',
    ]
    for index, name in enumerate(names):
        at = LEFT + 64 * index
        parts.append(f'<circle cx="{at}" cy="36" r="4" fill="{colours[name]}"/>')
        parts.append(f'<text x="{at + 8}" y="40">{escape(name)}</text>')
    for tick in ticks:
        x = across(tick)
        kind = ' class="o"' if unit == "x" and tick == 1 else ""
        parts.append(f'<line{kind} x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{foot}"/>')
        parts.append(f'<text class="m" x="{x:.1f}" y="{foot + 18}">{tick:g}{unit}</text>')
    for row, (label, cells) in enumerate(rows.items()):
        y = TOP + ROW * row + ROW // 2
        parts.append(f'<text class="e" x="{LEFT - 12}" y="{y + 4}">{escape(label)}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        for index, name in enumerate(names):
            if name not in cells:
                continue
            below = y + APART * (index - (len(names) - 1) / 2)
            place = f'cx="{across(cells[name]):.1f}" cy="{below:.1f}"'
            parts.append(f'<circle {place} r="3" fill="{colours[name]}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
