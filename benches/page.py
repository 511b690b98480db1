"""Writes what was measured: docs/performance.md, its plots, and the README's table."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from figures import ROOT, Figure, merge, rows_of, table
from plots import dot_plot

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "plots"
README = ROOT / "README.md"
MEASURED = re.compile(r"(<!-- measured:begin -->\n).*?(<!-- measured:end -->)", re.DOTALL)

HOW = ROOT / "benches" / "how.md"


@dataclass(frozen=True)
class Topic:
    """A part of the page."""

    title: str
    text: str
    unit: str = "x"
    log: bool = True
    # One plot for each scenario, or one for all of them.
    plot_each: bool = False


TOPICS = {
    "bounds": Topic(
        "What dapper is held to",
        "`imports` is measured inside the program, from before the first import to after it: "
        "processor time (user and system) and wall time. For `20,000 files` the libraries and "
        "site-packages of all interpreters are gathered, repeated under other content, and read "
        "into memory; compile time is the processor time of `compile` in the very workers that "
        "fill the store, and processor time otherwise that of all processes; `compileall` is "
        "that of a tree with all .pyc files in place, beside it in wall time. A `first import` is "
        "that of a copied tree with new times and no .pyc files, after "
        "`cache import --root` of what another copy has exported; beside it stands the same "
        "without an import, where each source has to be read and hashed to be known. Its "
        "instructions are counted by Valgrind where that is installed, less those of a run that "
        "imports nothing and without the kernel's: a busy machine hardly changes them. Nothing "
        "without a store is faster than the stock compiler: what a package costs without its .pyc "
        "files is about the most that a store can save.",
    ),
    "rivals": Topic(
        "Beside other tools",
        "Time over the plain run under the same launcher, `benches/programs/under.py`. "
        "`settrace` is a line tracer that does nothing, `settrace-compare` one that compares file "
        "and line; `pdb` has its breakpoints set and is told to continue; `debugpy` has a client "
        "in another process attached, which sets them over the debug protocol, and so has "
        "`dapper-session`; `monitoring` keeps line events on with a callback that does nothing, "
        "`monitoring-disable` switches each line off that is not a breakpoint; `noop-hook` is an "
        "eval-frame hook that only calls the interpreter's own evaluation.",
        plot_each=True,
    ),
    "conditions": Topic(
        "Conditions, hit counts and messages beside debugpy",
        "A breakpoint on the line of a hot loop, whose condition is never true, whose rule lets no "
        "hit through, or which writes a message, over the same loop with the `if`, the counter or "
        "the `print` written by hand. Breakpoints are set after load, in debugpy over the debug "
        "protocol. In debugpy messages go to its client, elsewhere into a file.",
    ),
    "adapter": Topic(
        "Debug adapters",
        "What an editor waits for, measured in its place: an adapter is started over pipes, "
        "launches `benches/programs/adapter.py` and is asked for one thing after the other, as "
        "soon as the answer to the last has come (wall time). A page is the hundred items in the "
        "middle of the list; debugpy answers with those at its beginning, whatever is asked for.",
        unit="",
    ),
    "threads": Topic(
        "Threads",
        "The call-heavy program, its work divided over so many threads: processor time of all of "
        "them over the plain run with as many. pdb watches one thread and is left out.",
    ),
    "pyperformance": Topic(
        "pyperformance",
        "Pure-Python programs of the pyperformance suite, started as scripts; the module `pyperf` "
        "that they import is a stand-in which calls the body a fixed number of times and keeps the "
        "least processor time. The breakpoint is on a line that the busiest function holding such "
        "a line never reaches.",
    ),
    "memory": Topic(
        "Memory", "Peak resident size of the process, in megabytes.", unit="MB", log=False
    ),
    "start-up": Topic(
        "Start-up",
        "`python -c pass` from start to end, wall time; debugpy listens and waits for no client.",
        unit="ms",
    ),
}


def plots_of(name: str, figures: list[Figure]) -> dict[str, str]:
    """Return the plots of one topic by file name."""
    topic = TOPICS[name]
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.scenario if topic.plot_each else "", []).append(figure)
    made = {}
    for scenario, group in groups.items():
        rows = {
            measure if topic.plot_each else f"{inner}: {measure}": {
                version: cell.value for version, cell in cells.items()
            }
            for (inner, measure), cells in rows_of(group).items()
        }
        title = f"{topic.title}: {scenario}" if scenario else topic.title
        file = re.sub(r"[^a-z0-9]+", "-", f"{name} {scenario}".lower()).strip("-")
        made[f"{file}.svg"] = dot_plot(title, rows, topic.unit, log=topic.log)
    return made


def laid_out(figures: list[Figure]) -> tuple[str, dict[str, str]]:
    """Return the page and its plots."""
    parts = [
        HOW.read_text().format(
            machine=platform.machine(),
            cores=os.cpu_count(),
            system=f"{platform.system()} {platform.release().partition('-')[0]}",
        )
    ]
    plots: dict[str, str] = {}
    for name, topic in TOPICS.items():
        chosen = [figure for figure in figures if figure.topic == name]
        if not chosen:
            continue
        parts.append(f"## {topic.title}\n\n{topic.text}\n")
        if name != "bounds":
            fresh = plots_of(name, chosen)
            parts.append("\n".join(f"![{topic.title}](plots/{file})" for file in fresh) + "\n")
            plots |= fresh
        parts.append(table(chosen, interval=name == "bounds"))
    return "\n".join(parts), plots


def write_to(page: Path, plots: Path, figures: list[Figure]) -> None:
    """Write the page and its plots; a plot that is no longer made goes."""
    text, drawn = laid_out(figures)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, drawing in drawn.items():
        (plots / name).write_text(drawing)


def nearest(figures: list[Figure]) -> list[Figure]:
    """Return, for each scenario, the row that comes nearest to its bound or misses it most."""
    worst: dict[str, tuple[float, str]] = {}
    for figure in figures:
        if figure.bound is None:
            continue
        over = figure.value / figure.bound
        share = 1 / over if figure.at_least and over else over
        worst[figure.scenario] = max(
            worst.get(figure.scenario, (0.0, figure.measure)), (share, figure.measure)
        )
    return [
        figure for figure in figures if worst.get(figure.scenario, (0, ""))[1] == figure.measure
    ]


def write(fresh: list[Figure], *, anew: bool) -> None:
    """Record the figures and rewrite the page, the plots and the README's table."""
    figures = merge(fresh, anew=anew)
    write_to(PAGE, PLOTS, figures)
    bounds = table(nearest([figure for figure in figures if figure.topic == "bounds"]))
    text = README.read_text()
    README.write_text(MEASURED.sub(lambda match: match[1] + bounds + match[2], text))
