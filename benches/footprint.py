"""What a process costs as a whole: its peak memory, and the time of an empty program."""

from __future__ import annotations

import functools
import shutil
import subprocess
import time
from pathlib import Path

from arms import PROGRAMS, ROOT, SCRATCH, Arm, BenchError, dapper, marked, output, python
from estimate import median_of
from figures import Figure, figure
from rivals import program_named, under

EMPTY = ["-c", "pass"]


def lifetime(command: list[str]) -> float:
    """Run a command and return how long it took, in milliseconds."""
    start = time.perf_counter()
    output(command)
    return (time.perf_counter() - start) * 1e3


@functools.cache
def bare(version: str, *, installed: bool) -> str:
    """Return the interpreter of an environment that holds dapper alone, or nothing at all."""
    home = SCRATCH / f"{'installed' if installed else 'bare'}-{version}"
    shutil.rmtree(home, ignore_errors=True)
    command = [python(version), "-I", "-m", "venv", "--without-pip", str(home)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise BenchError(f"{' '.join(command)}: exit {made.returncode}\n{made.stderr}")
    if installed:
        site = next(home.glob("lib/python3.*/site-packages"))
        shutil.copytree(
            ROOT / "python" / "dapper", site / "dapper", ignore=shutil.ignore_patterns("*.pyc")
        )
        for startup in (ROOT / "data" / "platlib").glob("dapper*"):
            shutil.copyfile(startup, site / startup.name)
    return str(home / "bin" / "python")


def start_up_of_processes(version: str, rounds: int) -> list[Figure]:
    """Return the time of an empty program."""
    session = [bare(version, installed=True), "-c", "import dapper; dapper.start()"]
    arms = {
        "plain": [bare(version, installed=False), *EMPTY],
        "dapper installed": [bare(version, installed=True), *EMPTY],
        "dapper session started": session,
        "dapper run": [dapper(version), "run", *EMPTY],
        "debugpy": [python(version), "-m", "debugpy", "--listen", "127.0.0.1:0", *EMPTY],
    }
    taken: dict[str, list[float]] = {name: [lifetime(arms[name])] for name in arms}
    for _ in range(rounds):
        for name, command in arms.items():
            taken[name].append(lifetime(command))
    return [
        figure("start-up", "python -c pass", name, version, median_of(values[1:]), unit="ms")
        for name, values in taken.items()
    ]


def memory(version: str, rounds: int) -> list[Figure]:
    """Return the peak memory of a small program and of one that imports a large package."""
    calls, many = program_named("calls"), program_named("many")
    options = ("--share", "100", "--repetitions", "1", "--peak")

    def beside(tool: str, program: Path) -> Arm:
        return under(version, tool, program, marked(program, "hot"), *options)

    program = PROGRAMS / "import_package.py"
    cold = f"--break={program}:{marked(program, 'cold')[0]}"
    sympy = [str(program), "sympy"]
    arms = {
        ("calls", "plain"): beside("plain", calls),
        ("calls", "dapper, session started"): beside("dapper-idle", calls),
        ("calls", "dapper, 3 breakpoints at import"): beside("dapper-import", calls),
        ("calls", "dapper, 3 breakpoints bound"): beside("dapper-bound", calls),
        ("calls", "debugpy, 3 breakpoints"): beside("debugpy", calls),
        ("64 functions", "plain"): beside("plain", many),
        ("64 functions", "dapper, 64 breakpoints at import"): beside("dapper-import", many),
        ("64 functions", "dapper, 64 breakpoints bound"): beside("dapper-bound", many),
        ("import of sympy", "plain"): Arm([python(version), *sympy]),
        ("import of sympy", "dapper run"): Arm([dapper(version), "run", cold, *sympy]),
    }
    figures = []
    for (scenario, name), arm in arms.items():
        arm.run()
        peaks = [arm.run(turn)[-1] for turn in range(1, 1 + max(1, rounds // 3))]
        figures.append(figure("memory", scenario, name, version, median_of(peaks), unit="MB"))
    return figures
