"""What filling a store costs, on 20,000 files.

The machine may be shared, and faster or slower a minute later: compile time is the processor time
of `compile` in the very workers that fill the store. Factors between runs are of wall time where
that is said, and those runs follow each other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from arms import PROGRAMS, SCRATCH, BenchError, dapper_instrument, environment, python
from corpus import corpus
from estimate import median_of
from figures import Figure, figure

FILES = int(os.environ.get("BENCH_CORPUS_FILES", "20000"))


@dataclass(frozen=True)
class Cost:
    """What a command and the processes that it waited for took."""

    wall: float
    processor: float
    # Of the largest of the processes, in megabytes.
    peak: float
    said: str


def cost(command: list[str], **variables: str) -> Cost:
    """Run a command; it must succeed."""
    start = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment() | variables
    ) as process:
        assert process.stdout
        said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if process.returncode != 0:
        raise BenchError(f"{' '.join(command)}: exit {process.returncode}\n{said[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


@dataclass(frozen=True)
class Round:
    """One run of everything on the corpus."""

    # Processor time of `compile` in the cold run.
    compiling: float
    cold: Cost
    from_pyc: Cost
    # With nothing changed: of `precompile`, and of `compileall` right after it.
    again: list[tuple[Cost, Cost]]


def filled(said: str, instrumented: int) -> None:
    """Fail unless a run did what it is measured for."""
    report = json.loads(said)
    if report["instrumented"] != instrumented or report["failed"]:
        raise BenchError(f"this measures nothing: {said[:500]}")


def cores() -> int:
    """Return how many processors there are to work with."""
    return len(os.sched_getaffinity(0))


def with_timed_workers(version: str, work: Path) -> tuple[str, Path]:
    """Make an interpreter whose compile workers say what `compile` takes, and where they do."""
    folder = work / "compile-times"
    folder.mkdir()
    program = work / "python"
    real, worker = python(version), PROGRAMS / "timed_worker.py"
    options = "-I -S -B -X utf8 -W ignore"
    program.write_text(f'#!/bin/sh\nexec {real} {options} {worker} {folder} "$@"\n')
    program.chmod(0o700)
    return str(program), folder


def one_round(version: str, tree: Path, work: Path) -> Round:
    """Fill a store without .pyc files and with them, and do the first again with it filled."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    store = work / "store"

    def precompile(interpreter: str) -> list[str]:
        command = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
        return [*command, f"--python={interpreter}", str(tree)]

    pycs = {"PYTHONPYCACHEPREFIX": str(work / "pycs")}
    timed, times = with_timed_workers(version, work)
    # In memory, as after a checkout: it is not the disk that is measured.
    files = sum(1 for path in tree.rglob("*.py") if path.read_bytes())
    cold = cost(precompile(timed))
    filled(cold.said, files)
    compiling = sum(int(said.read_text()) for said in times.iterdir()) / 1e9
    compileall = [python(version), "-m", "compileall", "-q", str(tree)]
    cost([*compileall, "-j", str(os.cpu_count())], **pycs)
    # What the first run wrote is on its way to the disk still, at the cost of whoever comes next.
    os.sync()
    again = [(cost(precompile(python(version))), cost(compileall, **pycs)) for _ in range(15)]
    for ours, _ in again:
        filled(ours.said, 0)
    shutil.rmtree(store)
    from_pyc = cost(precompile(python(version)), **pycs)
    filled(from_pyc.said, files)
    shutil.rmtree(work)
    return Round(compiling, cold, from_pyc, again)


def store(version: str, rounds: int) -> list[Figure]:
    """Return how near `precompile` comes to compile time, and what a second run costs."""
    tree = corpus(version, FILES)
    work = SCRATCH / f"fill-{version}"
    done = [one_round(version, tree, work) for _ in range(max(1, rounds // 4))]

    def made(
        measure: str,
        values: list[float],
        unit: str,
        bound: float | None = None,
        *,
        at_least: bool = False,
    ) -> Figure:
        name = f"{FILES:,} files"
        found = median_of(values)
        return figure(
            "bounds", name, measure, version, found, unit=unit, bound=bound, at_least=at_least
        )

    share = [100 * one.compiling / cores() / one.cold.wall for one in done]
    of_processor = [100 * one.compiling / one.cold.processor for one in done]
    faster = [one.compiling / one.from_pyc.processor for one in done]
    pairs = [(one, *pair) for one in done for pair in one.again]
    second = [100 * ours.processor / one.cold.processor for one, ours, _ in pairs]
    waited = [other.wall / ours.wall for _, ours, other in pairs]
    beside = [other.processor / ours.processor for _, ours, other in pairs]
    peak = [max(one.cold.peak, one.from_pyc.peak, one.again[0][0].peak) for one in done]
    return [
        made("(compile time / cores) / precompile's", share, "%", 90, at_least=True),
        made("the same in processor time", of_processor, "%"),
        made("compile time over precompile's from .pyc", faster, "x", 10, at_least=True),
        made("second precompile, of the first", second, "%", 1),
        made("compileall over precompile, nothing changed", waited, "x", 5, at_least=True),
        made("compileall over precompile in processor time", beside, "x"),
        made("peak of the largest process", peak, "MB", 300),
    ]
