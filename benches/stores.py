"""What filling a store costs, on 20,000 files.

The machine may be shared: shares of compile time are of processor time (user and system, of all
processes), which other work changes little; factors between runs are of wall time, and the runs
follow each other.
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


def compiled(version: str, folders: list[Path]) -> tuple[int, int]:
    """Compile what is in some folders; return how many files that are, and the time in ns."""
    program = str(PROGRAMS / "compile_corpus.py")
    said = cost([python(version), program, *map(str, folders)]).said
    files, _, taken = map(int, said.split())
    return files, taken


def one_round(version: str, tree: Path, work: Path) -> Round:
    """Compile the corpus, fill a store without .pyc files and with them, and do both again."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    store = work / "store"
    precompile = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
    precompile += [f"--python={python(version)}", str(tree)]
    pycs = {"PYTHONPYCACHEPREFIX": str(work / "pycs")}
    # The machine may become faster or slower in a minute: half is compiled before, half after.
    first, *others = sorted(tree.iterdir())
    before = compiled(version, [first])
    cold = cost(precompile)
    after = compiled(version, others)
    files, taken = (sum(pair) for pair in zip(before, after, strict=True))
    filled(cold.said, files)
    compileall = [python(version), "-m", "compileall", "-q", str(tree)]
    cost([*compileall, "-j", str(os.cpu_count())], **pycs)
    again = [(cost(precompile), cost(compileall, **pycs)) for _ in range(5)]
    for ours, _ in again:
        filled(ours.said, 0)
    shutil.rmtree(store)
    from_pyc = cost(precompile, **pycs)
    filled(from_pyc.said, files)
    shutil.rmtree(work)
    return Round(taken / 1e9, cold, from_pyc, again)


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

    share = [100 * one.compiling / one.cold.processor for one in done]
    faster = [one.compiling / one.from_pyc.processor for one in done]
    pairs = [(one, *pair) for one in done for pair in one.again]
    second = [100 * ours.processor / one.cold.processor for one, ours, _ in pairs]
    waited = [other.wall / ours.wall for _, ours, other in pairs]
    beside = [other.processor / ours.processor for _, ours, other in pairs]
    peak = [max(one.cold.peak, one.from_pyc.peak, one.again[0][0].peak) for one in done]
    return [
        made("compile time of precompile's", share, "%", 90, at_least=True),
        made("compile time over precompile's from .pyc", faster, "x", 10, at_least=True),
        made("second precompile, of the first", second, "%", 1),
        made("compileall over precompile, nothing changed", waited, "x", 5, at_least=True),
        made("the same in processor time", beside, "x"),
        made("peak of the largest process", peak, "MB", 300),
    ]
