"""Running one program in several ways, fairly: interleaved, in fresh processes, paired by round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benches" / "programs"
VENVS = ROOT / "build" / "venvs"
SCRATCH = ROOT / "build" / "bench"


class BenchError(RuntimeError):
    """A measured program failed, so there is nothing to report."""


def python(version: str) -> str:
    """Return the interpreter of an environment."""
    return str(VENVS / version / "bin" / "python")


def dapper(version: str) -> str:
    """Return the `dapper` command of an environment."""
    return str(VENVS / version / "bin" / "dapper")


def dapper_instrument(version: str) -> str:
    """Return the `dapper-instrument` command of an environment."""
    return str(VENVS / version / "bin" / "dapper-instrument")


def output(command: list[str]) -> str:
    """Run a command in the benches' environment and return its standard output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PYTHONHASHSEED": "0", "DAPPER_CACHE_DIR": str(SCRATCH / "store")}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def reported(version: str, options: list[str], program: Path) -> list[dict[str, Any]]:
    """Run a program with breakpoints and return what is reported of each, in the order given."""
    events = SCRATCH / "events.jsonl"
    output([dapper(version), "run", f"--events={events}", *options, str(program)])
    rows = [json.loads(line) for line in events.read_text().splitlines()]
    ends = [row for row in rows if row["event"] == "breakpoint"]
    if len(ends) != len(options):
        raise BenchError(f"{version}: {len(options)} breakpoints asked, {len(ends)} reported")
    return ends


def prove_armed(version: str, options: list[str], program: Path) -> None:
    """Fail unless every breakpoint of the options is in place and none is hit."""
    for row in reported(version, options, program):
        if not row["verified"] or row["hits"]:
            raise BenchError(f"{version}: this breakpoint measures nothing: {row}")


def number(command: list[str]) -> float:
    """Run a program that prints one number last, and return it."""
    return float(output(command).split()[-1])


def paired(arms: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Run every arm once per round, the order turning by one each round."""
    names = list(arms)
    results: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        number(arms[name])  # Fills .pyc files and the store: both are warm for what counts.
    for turn in range(rounds):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            results[name].append(number(arms[name]))
    return results


def ratio(results: dict[str, list[float]], name: str, base: str = "plain") -> float:
    """Return the median over rounds of `name` divided by `base` of the same round."""
    return statistics.median(
        value / plain for value, plain in zip(results[name], results[base], strict=True)
    )


def marked(path: Path, mark: str) -> list[int]:
    """Return the lines of a program that carry `# @mark`."""
    lines = path.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith(f"# @{mark}")]
