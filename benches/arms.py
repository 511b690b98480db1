"""Running one program in several ways, fairly: interleaved, in fresh processes, paired by round."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benches" / "programs"
VENVS = ROOT / "build" / "venvs"
SCRATCH = ROOT / "build" / "bench"
TOO_LONG = 300


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


def environment(turn: int = 0) -> dict[str, str]:
    """Return the environment of a round: all its arms hash alike and start at the same stack."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return env | {
        "PYTHONHASHSEED": str(turn),
        "BENCH_PADDING": "x" * (turn * 1_009 % 4_096),
        "DAPPER_CACHE_DIR": str(SCRATCH / "store"),
    }


def said_by(
    command: list[str], variables: Mapping[str, str] | None = None, turn: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command in the environment of a round; it has to succeed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(turn) | dict(variables or {}),
            timeout=TOO_LONG,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)}: not done after {TOO_LONG} s") from error
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def output(command: list[str], variables: Mapping[str, str] | None = None, turn: int = 0) -> str:
    """Run a command in the environment of a round and return its standard output."""
    return said_by(command, variables, turn).stdout


def reported(
    version: str, options: list[str], program: Path, *arguments: str, **variables: str
) -> list[dict[str, Any]]:
    """Run a program with breakpoints and return what is reported of each, in the order given.

    Those of a file that `--breakpoints` names are not counted: its reader knows how many they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder, "events.jsonl")
        command = [dapper(version), "run", f"--events={events}", *options, str(program), *arguments]
        output(command, variables)
        rows = [json.loads(line) for line in events.read_text().splitlines()]
    ends = [row for row in rows if row["event"] == "breakpoint"]
    asked = sum(option.startswith(("--break=", "--count=", "--log=")) for option in options)
    in_file = any(option.startswith("--breakpoints=") for option in options)
    if len(ends) != asked and not in_file:
        raise BenchError(f"{version}: {asked} breakpoints asked, {len(ends)} reported")
    return ends


def prove_armed(
    version: str, options: list[str], program: Path, *arguments: str, **variables: str
) -> None:
    """Fail unless every breakpoint of the options is in place and none is hit."""
    for row in reported(version, options, program, *arguments, **variables):
        if not row["verified"] or row["hits"]:
            raise BenchError(f"{version}: this breakpoint measures nothing: {row}")


@dataclass(frozen=True)
class Arm:
    """A command that prints numbers last, and the variables it needs in its environment."""

    command: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, turn: int = 0) -> list[float]:
        """Run it in the environment of a round and return the numbers of its last line."""
        said = output(self.command, self.variables, turn)
        try:
            return [float(word) for word in said.splitlines()[-1].split()]
        except (IndexError, ValueError) as error:
            raise BenchError(f"{' '.join(self.command)}: printed no number: {said!r}") from error


Results = dict[str, list[float]]


def rounds_of(
    arms: Mapping[str, Arm],
    least: int,
    most: int | None = None,
    enough: Callable[[list[Results]], bool] | None = None,
) -> list[Results]:
    """Run every arm once per round, the order turning by one each round.

    `enough` is asked every few rounds from `least` to `most`, and ends them.
    What is returned holds one entry for each number that all arms print.
    """
    names = list(arms)
    results: list[Results] = [{name: [] for name in names} for _ in arms[names[0]].run()]
    for name in names[1:]:
        arms[name].run()  # Fills .pyc files and the store: both are warm for what counts.
    for turn in range(1, (most or least) + 1):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            for kept, value in zip(results, arms[name].run(turn), strict=True):
                kept[name].append(value)
        if turn >= least and turn % 3 == 0 and enough is not None and enough(results):
            break
    return results


def marked(path: Path, mark: str) -> list[int]:
    """Return the lines of a program that carry `# @mark`."""
    lines = path.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith(f"# @{mark}")]
