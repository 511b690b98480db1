"""Measure what dapper costs, beside other tools, and write docs/performance.md and its plots.

Usage: python benches/run.py [--python 3.N]... [--rounds N] [SCENARIO]...

Exit 1 when something could not be measured; what was measured is written all the same. A figure
outside its bound is marked, not an error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arms import ROOT, SCRATCH, BenchError
from figures import RECORD, Figure
from page import write, write_to
from scenarios import ALONE, LAST, TOGETHER, Scenario

ALL: dict[str, Scenario] = ALONE | TOGETHER | LAST


def arguments(found: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="measure what dapper costs")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(ALL)}")
    parser.add_argument("--python", action="append", choices=found, help="only this version")
    parser.add_argument("--rounds", type=int, default=9, help="paired runs of each arm, at least")
    parser.add_argument("--lanes", type=int, default=min(2, os.cpu_count() or 1), help=LANES)
    parser.add_argument("--to", type=Path, help="write the page and plots there, record nothing")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(ALL)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if options.rounds < 1 or options.lanes < 1:
        parser.error("--rounds and --lanes count from 1")
    return options


LANES = "interpreters measured at a time in comparisons that have no bound"


class Run:
    """A run of scenarios: what it measured, and whether something could not be."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.figures: list[Figure] = []
        self.failed = False

    def measure(self, version: str, name: str) -> None:
        """Run one scenario on one interpreter."""
        start = time.monotonic()
        try:
            fresh = ALL[name](version, self.rounds)
        except BenchError as error:
            print(f"{name} on {version} cannot be measured: {error}", file=sys.stderr)
            self.failed = True
            return
        self.figures += fresh
        lines = [
            f"{version} {figure.scenario}, {figure.measure}: {figure.shown(interval=True)}"
            for figure in fresh
        ]
        lines.append(f"{version} {name}: {time.monotonic() - start:.0f} s")
        print("\n".join(lines), flush=True)

    def in_order(self, versions: list[str]) -> list[Figure]:
        """Return the figures by interpreter: lanes end in any order."""
        return sorted(self.figures, key=lambda figure: versions.index(figure.python))


def main() -> int:
    """Run the scenarios."""
    found: list[str] = list(json.loads((ROOT / "build" / "pythons.json").read_text())["found"])
    options = arguments(found)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    versions: list[str] = options.python or found
    chosen: list[str] = options.scenarios or list(ALL)
    if "throughput" in chosen:
        build = ["cargo", "build", "--release", "--locked", "--package", "dapper-instrument"]
        subprocess.run([*build, "--example", "every_line"], cwd=ROOT, check=True)
    run = Run(options.rounds)
    for group, lanes in ((ALONE, 1), (TOGETHER, options.lanes), (LAST, 1)):
        names = [name for name in chosen if name in group]

        def measure(version: str, names: list[str] = names) -> None:
            for name in names:
                run.measure(version, name)

        # One lane keeps to one interpreter, so its arms stay neighbours in time.
        with ThreadPoolExecutor(max_workers=lanes) as pool:
            list(pool.map(measure, versions))
    figures = run.in_order(versions)
    if options.to is not None:
        write_to(options.to / "performance.md", options.to / "plots", figures)
    elif figures:
        whole = not (options.scenarios or options.python or run.failed)
        if whole or RECORD.exists():
            write(figures, anew=whole)
        else:
            kept = "docs/performance.md is kept: its other figures were not measured here"
            print(f"{kept}; a run of all scenarios, or --to, writes a page", file=sys.stderr)
    missed = sum(figure.mark == " (!)" for figure in figures)
    undecided = sum(figure.mark == " (?)" for figure in figures)
    print(f"bench: {len(figures)} figures, {missed} outside their bound, {undecided} undecided")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
