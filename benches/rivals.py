"""Dapper beside other tools: each program under each tool, and the same with threads."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path

from arms import (
    PROGRAMS,
    ROOT,
    SCRATCH,
    Arm,
    BenchError,
    marked,
    output,
    python,
    rounds_of,
)
from estimate import ratio
from figures import Figure, figure

FUNCTIONS = 64
# What is a hundred times slower than plain Python gets less to do, and a plain run of that size.
SIZES = (("--share", "4", "--repetitions", "4"), ("--share", "60", "--repetitions", "3"))
# Each of many threads needs enough to do.
THREADED = (("--share", "1", "--repetitions", "4"), ("--share", "10", "--repetitions", "3"))
SLOW_TOOLS = ("pdb", "pdb-monitoring", "debugpy")
THREADS = (1, 8, 64)
PLACES = (
    ("calls", "hot"),
    ("calls", "cold"),
    ("loops", "hot"),
    ("methods", "hot"),
    ("generators", "hot"),
)
# A tool that does not look at breakpoints is measured once for a program.
BLIND = ("settrace", "monitoring", "noop-hook", "dapper-idle")

HEAD = '''"""{count} functions that call nothing, each with a line that is never reached."""

from timing import best_of

N = 1_600

'''
FUNCTION = """
def function_{index}(a):
    if a < 0:
        a = 0  # @hot
    return a + {index}

"""
TAIL = """
FUNCTIONS = [{names}]


def work(n):
    total = 0
    for i in range(n):
        for function in FUNCTIONS:
            total += function(i)
    return total


if __name__ == "__main__":
    print(best_of(work, N))
"""


def program_named(name: str) -> Path:
    """Return a program's path; the one of many functions is written first."""
    if name != "many":
        return PROGRAMS / f"{name}.py"
    path = SCRATCH / "many.py"
    names = ", ".join(f"function_{index}" for index in range(FUNCTIONS))
    text = HEAD.format(count=FUNCTIONS)
    text += "".join(FUNCTION.format(index=index) for index in range(FUNCTIONS))
    text += TAIL.format(names=names)
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


@functools.cache
def extensions(version: str) -> str:
    """Compile what is measured against in C and return the directory that holds it."""
    target = SCRATCH / f"extensions-{version}"
    target.mkdir(parents=True, exist_ok=True)
    asked = (
        "import json, sysconfig as s; "
        "print(json.dumps([s.get_path('include'), s.get_config_var('EXT_SUFFIX')]))"
    )
    include, suffix = json.loads(output([python(version), "-c", asked]))
    source = ROOT / "benches" / "noop_hook.c"
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", str(source)]
    command += ["-o", str(target / f"noop_hook{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return str(target)


def under(version: str, tool: str, program: Path, lines: list[int], *options: str) -> Arm:
    """Return the arm that runs a program under a tool."""
    launcher = [python(version), str(PROGRAMS / "under.py"), *options]
    places = [str(line) for line in lines]
    variables = {"PYTHONPATH": extensions(version)}
    return Arm([*launcher, tool, str(program), *places], variables)


@functools.cache
def tools(version: str) -> tuple[str, ...]:
    """Return the tools that an interpreter can be measured under; plain is not one."""
    command = [python(version), str(PROGRAMS / "under.py"), "--available"]
    names = output(command, {"PYTHONPATH": extensions(version)}).split()
    return tuple(name for name in names if name != "plain")


def ratios(
    version: str, topic: str, scenario: str, arms: dict[str, Arm], rounds: int
) -> list[Figure]:
    """Return the figure of every arm over the plain one."""
    (results,) = rounds_of(arms, rounds)
    return [
        figure(topic, scenario, name, version, ratio(results, name), unit="x")
        for name in arms
        if name != "plain"
    ]


def measured(
    version: str,
    topic: str,
    scenario: str,
    program: Path,
    lines: list[int],
    *,
    chosen: list[str],
    rounds: int,
    sizes: tuple[tuple[str, ...], tuple[str, ...]] = SIZES,
    options: tuple[str, ...] = (),
) -> list[Figure]:
    """Return the figures of a program under the chosen tools."""
    figures = []
    for slow, size in zip((False, True), sizes, strict=True):
        names = [tool for tool in chosen if (tool in SLOW_TOOLS) == slow]
        arms = {
            tool: under(version, tool, program, lines, *size, *options)
            for tool in ("plain", *names)
        }
        figures += ratios(version, topic, scenario, arms, rounds) if names else []
    # In the order in which the launcher lists them.
    return sorted(figures, key=lambda found: chosen.index(found.measure))


def beside(version: str, rounds: int) -> list[Figure]:
    """Return what each tool costs each program."""
    figures = []
    for name, mark in (*PLACES, ("many", "hot")):
        program = program_named(name)
        lines = marked(program, mark)
        # What is blind, and what has no line event to compare, is the same wherever lines are.
        chosen = [tool for tool in tools(version) if mark == "hot" or tool not in BLIND]
        where = f"{len(lines)} functions" if name == "many" else f"{name}, {mark}"
        each = max(1, rounds // 3)
        figures += measured(version, "rivals", where, program, lines, chosen=chosen, rounds=each)
    return figures


def threads(version: str, rounds: int) -> list[Figure]:
    """Return what each tool costs when the work is divided over threads."""
    program = program_named("calls")
    lines = marked(program, "hot")
    chosen = [tool for tool in tools(version) if not tool.startswith("pdb")]
    figures = []
    for count in THREADS:
        name = "1 thread" if count == 1 else f"{count} threads"
        each = max(1, rounds // 3)
        options = ("--threads", str(count))
        figures += measured(
            version,
            "threads",
            name,
            program,
            lines,
            chosen=chosen,
            rounds=each,
            sizes=THREADED,
            options=options,
        )
    return figures
