"""What is measured. Each scenario takes a version and a number of rounds and returns figures."""

from __future__ import annotations

import ast
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from adapter import adapter
from arms import (
    PROGRAMS,
    ROOT,
    SCRATCH,
    Arm,
    Results,
    dapper,
    dapper_instrument,
    marked,
    output,
    prove_armed,
    python,
    reported,
    rounds_of,
)
from conditions import conditions, debuggers, hits
from estimate import Estimate, difference, median_of, paired, ratio
from figures import Figure, figure
from first_imports import first_import
from footprint import memory, start_up_of_processes
from messages import log
from rivals import beside, program_named, threads, under
from stores import store
from suite import pyperformance

Scenario = Callable[[str, int], list[Figure]]
SMALLEST_TREE = 1_000


def bounded(
    version: str,
    scenario: str,
    arms: dict[str, Arm],
    rounds: int,
    measures: dict[str, tuple[str, str, float]],
) -> list[Figure]:
    """Measure until each ratio is decided; `measures`: arm to name, base arm and bound."""

    def estimates(results: list[Results]) -> dict[str, Estimate]:
        return {arm: ratio(results[0], arm, base) for arm, (_, base, _) in measures.items()}

    def decided(results: list[Results]) -> bool:
        found = estimates(results)
        return all(found[arm].decides(bound) for arm, (_, _, bound) in measures.items())

    found = estimates(rounds_of(arms, rounds, 3 * rounds, decided))
    return [
        figure("bounds", scenario, name, version, found[arm], unit="x", bound=bound)
        for arm, (name, _, bound) in measures.items()
    ]


def run_time(version: str, rounds: int, name: str) -> list[Figure]:
    """Return what breakpoints that are not hit cost one program.

    All arms import the program from the same launcher: under `dapper run` with breakpoints that are
    compiled in, or with breakpoints that are set once the program is loaded, by the launcher or by
    a client that is attached to it, or has left again.
    """
    program = program_named(name)
    arms = {"plain": under(version, "plain", program, [])}
    measures: dict[str, tuple[str, str, float]] = {}
    for mark in ("cold", "hot"):
        breaks = [f"--break={program}:{line}" for line in marked(program, mark)]
        if not breaks:
            continue
        launched = arms["plain"].command[1:]
        prove_armed(version, breaks, Path(launched[0]), *launched[1:])
        arms[mark] = Arm([dapper(version), "run", *breaks, *launched], arms["plain"].variables)
        measures[mark] = (f"breakpoint in a {mark} place", "plain", 1.02)
    lines = marked(program, "hot")
    arms["bound"] = under(version, "dapper-bound", program, lines)
    measures["bound"] = ("breakpoint in a hot place, set after load", "plain", 1.02)
    arms["session"] = under(version, "dapper-session", program, lines)
    measures["session"] = ("breakpoint in a hot place, set by an editor", "plain", 1.02)
    arms["left"] = under(version, "dapper-left", program, lines)
    measures["left"] = ("set by an editor that has left", "plain", 1.02)
    scenario = f"{len(lines)} functions" if name == "many" else name
    return bounded(version, scenario, arms, rounds, measures)


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


def many(version: str, rounds: int) -> list[Figure]:
    """Return the figures of the program with a breakpoint in each of its many functions."""
    return run_time(version, rounds, "many")


def count(version: str, rounds: int) -> list[Figure]:
    """Return the cost of one hit that only counts, in nanoseconds."""
    program = PROGRAMS / "count.py"
    (line,) = marked(program, "count")
    results = rounds_of(
        {
            "plain": Arm([python(version), str(program)]),
            "count": Arm([dapper(version), "run", f"--count={program}:{line}", str(program)]),
        },
        rounds,
    )
    added = difference(results[0], "count")
    return [
        figure("bounds", "count", "a hit that only counts", version, added, unit="ns", bound=60)
    ]


def quiet_lines(sources: list[Path]) -> Iterator[tuple[Path, int]]:
    """Yield, for each source, a line that does not run while it is imported: a method's `raise`."""
    for source in sources:
        for node in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(node, ast.Raise) and node.col_offset > 4:
                yield source, node.lineno
                break


def imports(version: str, rounds: int) -> list[Figure]:
    """Return what a warm store costs, or saves, when sympy is imported."""
    program = PROGRAMS / "import_package.py"
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
        for option, row in zip(lines, reported(version, lines, program, "sympy"), strict=True)
        if row["verified"] and not row["hits"]
    ]
    prove_armed(version, lines, program, "sympy")
    elsewhere = f"--count={program}:{cold}"
    arms = {
        "plain": Arm([python(version), str(program), "sympy"]),
        "without": Arm([dapper(version), "run", elsewhere, str(program), "sympy"]),
        "with": Arm([dapper(version), "run", elsewhere, *lines, str(program), "sympy"]),
    }
    bounds = {"without": 1.01, "with": 1.05}

    def decided(results: list[Results]) -> bool:
        return all(ratio(results[0], arm).decides(bound) for arm, bound in bounds.items())

    # A quarter of a second each, and a bound of one in a hundred.
    processor, wall, _ = rounds_of(arms, 2 * rounds, 4 * rounds, decided)
    names = {
        "without": "sympy, no breakpoint in it",
        "with": f"sympy, {len(lines)} breakpoints",
    }
    return [
        figure(
            "bounds",
            "import",
            f"{names[arm]}, {clock}",
            version,
            ratio(results, arm),
            unit="x",
            bound=bound,
        )
        for arm, bound in bounds.items()
        for clock, results in (("processor time", processor), ("wall time", wall))
    ]


def start_up(version: str, rounds: int) -> list[Figure]:
    """Return what the installed start-up file costs an interpreter that is not asked, in us."""
    (line,) = (ROOT / "data" / "platlib" / "dapper.pth").read_text().splitlines()
    code = (
        "import time; s = time.perf_counter_ns(); "
        f"exec({line!r}); import dapper_startup; dapper_startup.start(); "
        "print((time.perf_counter_ns() - s) / 1000)"
    )
    arm = Arm([python(version), "-c", code])
    taken = median_of([arm.run(turn)[0] for turn in range(rounds)])
    return [figure("bounds", "start-up", "not asked", version, taken, unit="us", bound=1000)]


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
    every_line = str(ROOT / "target/release/examples/every_line")
    compiling = [python(version), str(PROGRAMS / "compile_tree.py"), str(tree), str(pycs)]
    results = rounds_of(
        {"plain": Arm(compiling), "instrument": Arm([every_line, str(pycs)])}, max(3, rounds // 3)
    )
    share = paired(results[0], "instrument", "plain", lambda value, plain: 100 * value / plain)
    measure = "every line of the library, of compile time"
    return [figure("bounds", "throughput", measure, version, share, unit="%", bound=6)]


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
    measure = "(compile time / cores) / time"
    found = median_of(shares)
    return [
        figure("bounds", "precompile", measure, version, found, unit="%", bound=90, at_least=True)
    ]


def arming(version: str, rounds: int) -> list[Figure]:
    """Return how long arming and disarming take in a process full of objects, in ms."""
    worlds = {
        "objects": "a million objects",
        "modules": "2,000 modules with 50,000 functions",
        "generators": "100,000 generators of other code",
        "watched": "100,000 suspended generators of its own code",
        "long": "a file of 3,000 functions",
    }
    figures = []
    for world, shown in worlds.items():
        taken: dict[str, list[float]] = {"arm": [], "disarm": []}
        for _ in range(max(1, rounds // 3)):
            with tempfile.TemporaryDirectory() as folder:
                program = str(PROGRAMS / "arming.py")
                row = json.loads(output([python(version), program, folder, world]))
            for what, times in taken.items():
                times.extend(row[what])
        for what, times in taken.items():
            found = median_of(times)
            figures.append(figure("bounds", what, shown, version, found, unit="ms", bound=50))
    return figures


# What is held to a bound runs alone; the rest, where factors count, may share the machine.
ALONE: dict[str, Scenario] = {
    "calls": calls,
    "loops": loops,
    "methods": methods,
    "generators": generators,
    "many": many,
    "count": count,
    "conditions": conditions,
    "hits": hits,
    "log": log,
    "imports": imports,
    "start-up": start_up,
    "throughput": throughput,
    "precompile": precompile,
    "store": store,
    "first-import": first_import,
    "arming": arming,
    "adapter": adapter,
}
TOGETHER: dict[str, Scenario] = {
    "rivals": beside,
    "debuggers": debuggers,
    "threads": threads,
    "pyperformance": pyperformance,
    "memory": memory,
}
LAST: dict[str, Scenario] = {
    "processes": start_up_of_processes,
}
