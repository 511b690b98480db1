"""What is measured. Each scenario takes a version and a number of rounds and returns figures."""

from __future__ import annotations

import ast
import json
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from arms import (
    PROGRAMS,
    ROOT,
    SCRATCH,
    dapper,
    dapper_instrument,
    marked,
    number,
    output,
    paired,
    prove_armed,
    python,
    ratio,
    reported,
)
from figures import Figure

SMALLEST_TREE = 1_000


def run_time(version: str, rounds: int, name: str) -> list[Figure]:
    """Return what breakpoints that are not hit cost one program."""
    program = PROGRAMS / f"{name}.py"
    arms = {"plain": [python(version), str(program)]}
    for mark in ("cold", "hot"):
        breaks = [f"--break={program}:{line}" for line in marked(program, mark)]
        prove_armed(version, breaks, program)
        arms[mark] = [dapper(version), "run", *breaks, str(program)]
    results = paired(arms, rounds)
    return [
        Figure(name, f"breakpoint in a {mark} place", version, ratio(results, mark), "x", 1.02)
        for mark in ("cold", "hot")
    ]


def calls(version: str, rounds: int) -> list[Figure]:
    """Return the figures of the call-heavy program."""
    return run_time(version, rounds, "calls")


def loops(version: str, rounds: int) -> list[Figure]:
    """Return the figures of the loop-heavy program."""
    return run_time(version, rounds, "loops")


def methods(version: str, rounds: int) -> list[Figure]:
    """Return the figures of the method-heavy program."""
    return run_time(version, rounds, "methods")


def generators(version: str, rounds: int) -> list[Figure]:
    """Return the figures of the generator-heavy program."""
    return run_time(version, rounds, "generators")


def count(version: str, rounds: int) -> list[Figure]:
    """Return the cost of one hit that only counts, in nanoseconds."""
    program = PROGRAMS / "count.py"
    (line,) = marked(program, "count")
    results = paired(
        {
            "plain": [python(version), str(program)],
            "count": [dapper(version), "run", f"--count={program}:{line}", str(program)],
        },
        rounds,
    )
    added = statistics.median(
        counted - plain for counted, plain in zip(results["count"], results["plain"], strict=True)
    )
    return [Figure("count", "a hit that only counts", version, added, "ns", 60)]


def quiet_lines(sources: list[Path]) -> Iterator[tuple[Path, int]]:
    """Yield, for each source, a line that does not run while it is imported: a method's `raise`."""
    for source in sources:
        for node in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(node, ast.Raise) and node.col_offset > 4:
                yield source, node.lineno
                break


def imports(version: str, rounds: int) -> list[Figure]:
    """Return what a warm store costs, or saves, when sympy is imported."""
    program = PROGRAMS / "import_sympy.py"
    listing = (
        "import sympy, sys\n"
        "for name, module in sys.modules.items():\n"
        "    if name.startswith('sympy.'): print(module.__file__)"
    )
    loaded = output([python(version), "-c", listing]).splitlines()
    (cold,) = marked(program, "cold")
    lines = [f"--count={path}:{line}" for path, line in quiet_lines(sorted(map(Path, set(loaded))))]
    if not lines:
        raise RuntimeError("no line to break on in sympy")
    # A few of the lines do run: some classes answer `hasattr` by raising.
    lines = [
        option
        for option, row in zip(lines, reported(version, lines, program), strict=True)
        if row["verified"] and not row["hits"]
    ]
    prove_armed(version, lines, program)
    elsewhere = f"--count={program}:{cold}"
    results = paired(
        {
            "plain": [python(version), str(program)],
            "without": [dapper(version), "run", elsewhere, str(program)],
            "with": [dapper(version), "run", elsewhere, *lines, str(program)],
        },
        # A quarter of a second each, and a bound of one in a hundred.
        3 * rounds,
    )
    return [
        Figure(
            "import", "sympy, no breakpoint in it", version, ratio(results, "without"), "x", 1.01
        ),
        Figure(
            "import", f"sympy, {len(lines)} breakpoints", version, ratio(results, "with"), "x", 1.05
        ),
    ]


def start_up(version: str, rounds: int) -> list[Figure]:
    """Return what the installed start-up file costs an interpreter that is not asked, in us."""
    (line,) = (ROOT / "data" / "platlib" / "dapper.pth").read_text().splitlines()
    code = (
        "import time; s = time.perf_counter_ns(); "
        f"exec({line!r}); import dapper_startup; dapper_startup.start(); "
        "print((time.perf_counter_ns() - s) / 1000)"
    )
    taken = statistics.median(number([python(version), "-c", code]) for _ in range(rounds))
    return [Figure("start-up", "not asked", version, taken, "us", 1000)]


def library(version: str) -> Path:
    """Return the standard library's directory, as the interpreter names it."""
    code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    return Path(output([python(version), "-c", code]).strip())


def sources(version: str, *, tests: bool) -> Path:
    """Copy the standard library's sources, without any .pyc, to where they may be worked on."""
    tree = SCRATCH / f"tree-{version}{'-tests' if tests else ''}"
    left_out = ["__pycache__", "site-packages", "*lib2to3", "*.so", "*.pyc"]
    left_out += [] if tests else ["test", "tests", "idle_test"]
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(library(version), tree, ignore=shutil.ignore_patterns(*left_out))
    return tree


def throughput(version: str, rounds: int) -> list[Figure]:
    """Return the time to instrument every line of the standard library over compiling it."""
    tree = sources(version, tests=False)
    pycs = SCRATCH / f"pyc-{version}"
    results = paired(
        {
            "plain": [python(version), str(PROGRAMS / "compile_tree.py"), str(tree), str(pycs)],
            "instrument": [str(ROOT / "target/release/examples/every_line"), str(pycs)],
        },
        max(3, rounds // 2),
    )
    share = 100 * ratio(results, "instrument")
    return [
        Figure("throughput", "every line of the library, of compile time", version, share, "%", 6)
    ]


def precompile(version: str, rounds: int) -> list[Figure]:
    """Return how near `precompile` without .pyc files comes to compile time over cores."""
    tree = sources(version, tests=True)
    store = SCRATCH / f"store-{version}"
    if sum(1 for _ in tree.rglob("*.py")) < SMALLEST_TREE:
        # Some builds come without the library's tests.
        site = output([python(version), "-c", "import sympy; print(sympy.__path__[0])"]).strip()
        shutil.copytree(site, tree / "sympy", ignore=shutil.ignore_patterns("__pycache__"))
    # The program's own test data holds files that are meant not to compile.
    for bad in [path for path in tree.rglob("*.py") if "bad" in path.name]:
        bad.unlink()
    shares = []
    for _ in range(max(3, rounds // 3)):
        command = [python(version), str(PROGRAMS / "compile_tree.py"), str(tree), f"{store}-pyc"]
        files, taken = map(float, output(command).split())
        if files < SMALLEST_TREE:
            raise RuntimeError(f"{tree}: {files:.0f} files are too few to measure with")
        shutil.rmtree(store, ignore_errors=True)
        command = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
        report = json.loads(output([*command, f"--python={python(version)}", str(tree)]))
        ideal = taken / 1e9 / (os.cpu_count() or 1)
        shares.append(100 * ideal / report["seconds"])
    figure = statistics.median(shares)
    return [
        Figure(
            "precompile", "(compile time / cores) / time", version, figure, "%", 90, at_least=True
        )
    ]


ALL = {
    "calls": calls,
    "loops": loops,
    "methods": methods,
    "generators": generators,
    "count": count,
    "imports": imports,
    "start-up": start_up,
    "throughput": throughput,
    "precompile": precompile,
}
