"""What filling a store costs, on 20,000 files, and what the store gives to a first import.

The machine may be shared: shares of compile time are of processor time (user and system, of all
processes), which other work changes little; factors between runs are of wall time, and the runs
follow each other.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arms import (
    PROGRAMS,
    SCRATCH,
    Arm,
    BenchError,
    dapper,
    dapper_instrument,
    environment,
    output,
    python,
    rounds_of,
)
from corpus import corpus
from estimate import median_of, ratio
from figures import Figure, figure

FILES = int(os.environ.get("BENCH_CORPUS_FILES", "20000"))
PACKAGES = ("sympy", "mpmath")
LISTING = """
import sys
import sympy
for name, module in sys.modules.items():
    if name.partition(".")[0] in ("sympy", "mpmath") and getattr(module, "__file__", None):
        print(module.__file__)
"""


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
    again: Cost
    from_pyc: Cost
    compileall: Cost


def filled(said: str, instrumented: int) -> None:
    """Fail unless a run did what it is measured for."""
    report = json.loads(said)
    if report["instrumented"] != instrumented or report["failed"]:
        raise BenchError(f"this measures nothing: {said[:500]}")


def one_round(version: str, tree: Path, work: Path) -> Round:
    """Compile the corpus, fill a store without .pyc files and with them, and do both again."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    store = work / "store"
    precompile = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
    precompile += [f"--python={python(version)}", str(tree)]
    pycs = {"PYTHONPYCACHEPREFIX": str(work / "pycs")}
    compiling = [python(version), str(PROGRAMS / "compile_corpus.py"), str(tree)]
    files, _, taken = map(int, cost(compiling).said.split())
    cold = cost(precompile)
    filled(cold.said, files)
    again = cost(precompile)
    filled(again.said, 0)
    compileall = [python(version), "-m", "compileall", "-q", str(tree)]
    cost([*compileall, "-j", str(os.cpu_count())], **pycs)
    up_to_date = cost(compileall, **pycs)
    shutil.rmtree(store)
    from_pyc = cost(precompile, **pycs)
    filled(from_pyc.said, files)
    shutil.rmtree(work)
    return Round(taken / 1e9, cold, again, from_pyc, up_to_date)


def store(version: str, rounds: int) -> list[Figure]:
    """Return how near `precompile` comes to compile time, and what a second run costs."""
    tree = corpus(version, FILES)
    work = SCRATCH / f"fill-{version}"
    done = [one_round(version, tree, work) for _ in range(max(1, rounds // 4))]

    def made(
        measure: str, values: list[float], unit: str, bound: float, *, at_least: bool = False
    ) -> Figure:
        name = f"{FILES:,} files"
        found = median_of(values)
        return figure(
            "bounds", name, measure, version, found, unit=unit, bound=bound, at_least=at_least
        )

    share = [100 * one.compiling / one.cold.processor for one in done]
    faster = [one.compiling / one.from_pyc.processor for one in done]
    second = [100 * one.again.processor / one.cold.processor for one in done]
    beside = [one.compileall.processor / one.again.processor for one in done]
    waited = [one.compileall.wall / one.again.wall for one in done]
    peak = [max(one.cold.peak, one.from_pyc.peak, one.again.peak) for one in done]
    return [
        made("compile time of precompile's", share, "%", 90, at_least=True),
        made("compile time over precompile's from .pyc", faster, "x", 10, at_least=True),
        made("second precompile, of the first", second, "%", 1),
        made("compileall over precompile, nothing changed", beside, "x", 5, at_least=True),
        made("the same in wall time", waited, "x", 5, at_least=True),
        made("peak of the largest process", peak, "MB", 300),
    ]


def copied(version: str, target: Path) -> Path:
    """Copy the packages' sources to a folder of their own, with new times and no .pyc files."""
    shutil.rmtree(target, ignore_errors=True)
    for name in PACKAGES:
        code = f"import {name}; print({name}.__path__[0])"
        source = output([python(version), "-c", code]).strip()
        left_out = shutil.ignore_patterns("__pycache__", "tests")
        shutil.copytree(source, target / name, ignore=left_out, copy_function=shutil.copyfile)
    return target


def quiet_line(source: Path) -> int:
    """Return a line that does not run while a module is imported, or else its last statement."""
    tree = ast.parse(source.read_bytes())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    quiet = [node.body[-1].lineno for node in functions if not node.decorator_list]
    return max(quiet, default=0) or max((node.lineno for node in tree.body), default=1)


def first_import(version: str, rounds: int) -> list[Figure]:
    """Return what the first import of a copied package costs with the store of another copy."""
    program = PROGRAMS / "import_sympy.py"
    work = SCRATCH / f"import-{version}"
    warmed, fresh = copied(version, work / "warmed"), copied(version, work / "fresh")
    output([python(version), "-m", "compileall", "-q", str(warmed)])
    loaded = output([python(version), "-c", LISTING], {"PYTHONPATH": str(warmed)}).splitlines()
    modules = sorted({Path(path).relative_to(warmed) for path in loaded})
    points = {module: quiet_line(warmed / module) for module in modules}
    files = {}
    for folder in (warmed, fresh):
        files[folder] = folder.with_suffix(".toml")
        files[folder].write_text(
            "".join(
                f'[[breakpoint]]\nfile = "{folder / module}"\nline = {line}\nkind = "count"\n'
                for module, line in points.items()
            )
        )
    store = work / "store"
    shutil.rmtree(store, ignore_errors=True)
    command = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
    command += [f"--python={python(version)}", f"--breakpoints={files[warmed]}", str(warmed)]
    filled(output(command), sum(1 for _ in warmed.rglob("*.py")))
    # As on two machines: what one has exported, the other imports for its own copy.
    archive, imported = work / "store.dapper", work / "imported"
    carry = [dapper_instrument(version), "cache"]
    output([*carry, "export", f"--cache-dir={store}", f"--root={warmed}", str(archive)])
    shutil.rmtree(imported, ignore_errors=True)
    output([*carry, "import", f"--cache-dir={imported}", f"--root={fresh}", str(archive)])
    # Nothing is written, so every run is a first one: no .pyc file, and, in a store that was not
    # imported, no memo.
    variables = {"PYTHONPATH": str(fresh), "PYTHONDONTWRITEBYTECODE": "1"}
    under = [dapper(version), "run", f"--breakpoints={files[fresh]}", str(program)]
    ends = ends_of(version, under, variables | {"DAPPER_CACHE_DIR": str(store)})
    if not ends or not all(end["verified"] for end in ends):
        raise BenchError(f"{version}: a breakpoint is not in place: {ends[:3]}")
    arms = {
        "plain": Arm([python(version), str(program)], {"PYTHONPATH": str(warmed)}),
        "imported": Arm(under, variables | {"DAPPER_CACHE_DIR": str(imported)}),
        "stored": Arm(under, variables | {"DAPPER_CACHE_DIR": str(store)}),
        "without": Arm(under, variables | {"DAPPER_CACHE_DIR": str(work / "nothing")}),
    }
    processor, *_ = rounds_of(arms, max(3, rounds))
    named = f"sympy copied, {len(points)} breakpoints"
    return [
        figure(
            *("bounds", "first import", f"{named}: over stock .pyc files", version),
            ratio(processor, "imported"),
            unit="x",
            bound=1,
        ),
        figure(
            *("bounds", "first import", f"{named}: if sources have to be read", version),
            ratio(processor, "stored"),
            unit="x",
        ),
        figure(
            *("bounds", "first import", f"{named}: without the store over with it", version),
            ratio(processor, "without", "imported"),
            unit="x",
            bound=5,
            at_least=True,
        ),
    ]


def ends_of(version: str, command: list[str], variables: dict[str, str]) -> list[dict[str, Any]]:
    """Run a program with breakpoints and return what is reported of each."""
    events = SCRATCH / f"events-{version}.jsonl"
    output([*command[:2], f"--events={events}", *command[2:]], variables)
    rows = [json.loads(line) for line in events.read_text().splitlines()]
    events.unlink()
    return [row for row in rows if row["event"] == "breakpoint"]
