"""Measure what dapper costs, and write docs/performance.md.

Usage: python benches/run.py [--python 3.N]... [--rounds N] [SCENARIO]...
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from arms import ROOT, SCRATCH, BenchError
from figures import Figure, table, write
from scenarios import ALL


def arguments(found: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="measure what dapper costs")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(ALL)}")
    parser.add_argument("--python", action="append", choices=found, help="only this version")
    parser.add_argument("--rounds", type=int, default=9, help="paired runs of each arm")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(ALL)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    """Run the scenarios; fail when one cannot be measured."""
    found: list[str] = list(json.loads((ROOT / "build" / "pythons.json").read_text())["found"])
    options = arguments(found)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if not options.scenarios or "throughput" in options.scenarios:
        build = ["cargo", "build", "--release", "--locked", "--package", "dapper-instrument"]
        subprocess.run([*build, "--example", "every_line"], cwd=ROOT, check=True)
    figures: list[Figure] = []
    failed = False
    for version in options.python or found:
        for name in options.scenarios or ALL:
            try:
                fresh = ALL[name](version, options.rounds)
            except BenchError as error:
                print(f"{name} on {version} cannot be measured: {error}", file=sys.stderr)
                failed = True
                continue
            figures += fresh
            for figure in fresh:
                print(
                    f"{version} {figure.scenario}, {figure.measure}: {figure.shown()}", flush=True
                )
    if options.dry_run:
        print(table(figures))
    elif figures:
        write(figures)
    over = [figure for figure in figures if not figure.holds]
    print(f"bench: {len(figures)} figures, {len(over)} outside their bound")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
