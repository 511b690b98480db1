"""What conditions and hit counts cost beside checks written by hand, and beside debugpy."""

from __future__ import annotations

import ast
from pathlib import Path

from arms import PROGRAMS, SCRATCH, Arm, BenchError, Results, dapper, marked, reported, rounds_of
from estimate import Estimate, median_of
from figures import Figure, figure
from rivals import SIZES, SLOW_TOOLS, ratios, tools, under

# Functions of benches/programs/conditions.py, and what the page calls them.
CHECKS = {
    "int_equal": "int ==",
    "str_equal": "str ==",
    "attribute_equal": "attribute ==",
    "subscript_equal": "subscript ==",
    "contained": "in",
    "is_none": "is None",
    "instance": "isinstance",
    "combined": "and, or, not",
    "length": "len() >",
}
# Functions of benches/programs/hits.py, and the hit rule of each.
RULES = {
    "counted": None,
    "every": "% 1000000",
    "once": "== 100000000",
    "after": "> 100000000",
}


def test_of(program: Path, name: str) -> str:
    """Return the test of the first `if` of a function."""
    for function in ast.walk(ast.parse(program.read_bytes())):
        if isinstance(function, ast.FunctionDef) and function.name == name:
            tests = [node.test for node in ast.walk(function) if isinstance(node, ast.If)]
            return ast.unparse(tests[0])
    raise BenchError(f"{program}: there is no function {name}")


def line_of(program: Path, mark: str) -> int:
    """Return the one line that carries a mark."""
    (line,) = marked(program, mark)
    return line


def by_hand(
    version: str,
    rounds: int,
    program: Path,
    points: dict[str, list[str]],
    bound: float,
) -> dict[str, Estimate]:
    """Measure until what each function of `points` takes over its twin is decided."""
    options = [option for options in points.values() for option in options]
    command = [dapper(version), "run", *options, str(program), *points]

    def estimates(results: list[Results]) -> dict[str, Estimate]:
        rows = zip(points, results, strict=True)
        return {name: median_of(taken["armed"]) for name, taken in rows}

    def decided(results: list[Results]) -> bool:
        return all(found.decides(bound) for found in estimates(results).values())

    return estimates(rounds_of({"armed": Arm(command)}, rounds, 3 * rounds, decided))


def conditions(version: str, rounds: int) -> list[Figure]:
    """Return what a false condition costs over an `if` with the same test."""
    program = PROGRAMS / "conditions.py"
    points = {}
    for name in CHECKS:
        place = f"--count={program}:{line_of(program, name)}"
        points[name] = [place, f"--if={test_of(program, f'{name}_by_hand')}"]
    options = [option for options in points.values() for option in options]
    for row in reported(version, options, program, *points):
        # A reason says that the condition is not in the line.
        if not row["verified"] or row["hits"] or row["reason"]:
            raise BenchError(f"{version}: this condition measures nothing: {row}")
    found = by_hand(version, rounds, program, points, 1.05)
    return [
        figure(
            "bounds",
            "condition",
            f"`{CHECKS[name]}`, never true, over `if`",
            version,
            estimate,
            unit="x",
            bound=1.05,
        )
        for name, estimate in found.items()
    ]


def hits(version: str, rounds: int) -> list[Figure]:
    """Return what a hit count costs over a counter in the loop."""
    program = PROGRAMS / "hits.py"
    points = {}
    for name, rule in RULES.items():
        place = f"--count={program}:{line_of(program, name)}"
        points[name] = [place, *([f"--hit={rule}"] if rule else [])]
    options = [option for options in points.values() for option in options]
    for row in reported(version, options, program, *points):
        if not row["verified"] or not row["hits"] or row["reason"]:
            raise BenchError(f"{version}: this counts nothing: {row}")
    found = by_hand(version, rounds, program, points, 1.5)
    return [
        figure(
            "bounds",
            "hit count",
            f"`{RULES[name]}`, over a counter and the test" if RULES[name] else "over a counter",
            version,
            estimate,
            unit="x",
            bound=1.5,
        )
        for name, estimate in found.items()
    ]


# What a debugger is asked for, and the twin by hand: program, function, what it is called.
ASKED = (
    ("conditions", "int_equal", "condition"),
    ("conditions", "combined", "condition"),
    ("hits", "once", "hit count"),
    ("messages", "logged", "log message"),
)


def terms_of(program: Path, name: str, kind: str) -> list[str]:
    """Return the options of the launcher for what a breakpoint is asked for with."""
    if kind == "condition":
        return [f"--condition={test_of(program, f'{name}_by_hand')}"]
    if kind == "hit count":
        return [f"--hit-condition={RULES[name]}"]
    return ["--log-message=x={x}"]


def debuggers(version: str, rounds: int) -> list[Figure]:
    """Return what conditions, hit counts and messages cost in debuggers, over those by hand."""
    figures = []
    chosen = [tool for tool in ("debugpy", "dapper-bound") if tool in tools(version)]
    SCRATCH.mkdir(parents=True, exist_ok=True)
    for file, name, kind in ASKED:
        program = PROGRAMS / f"{file}.py"
        terms = terms_of(program, name, kind)
        lines = [line_of(program, name)]
        for tool in chosen:
            size = SIZES[tool in SLOW_TOOLS]
            log = SCRATCH / f"debuggers-{version}.log"
            log.unlink(missing_ok=True)
            armed = under(version, tool, program, lines, *size, "--work", name, *terms)
            twin = under(version, "plain", program, [], *size, "--work", f"{name}_by_hand")
            arms = {"plain": twin, tool: armed}
            variables = {"BENCH_LOG": str(log)}
            arms = {
                one: Arm(arm.command, {**arm.variables, **variables}) for one, arm in arms.items()
            }
            scenario = f"{kind} `{terms[0].partition('=')[2]}`"
            figures += ratios(version, "conditions", scenario, arms, max(1, rounds // 3))
    return figures
