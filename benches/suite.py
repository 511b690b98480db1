"""Programs of the pyperformance suite: plain, with dapper idle, and with a breakpoint."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from arms import PROGRAMS, ROOT, Arm, dapper, output, prove_armed, python
from figures import Figure
from rivals import ratios

# Pure Python, one process, nothing but the suite needed, less than half a second a run, and with a
# line that is not reached; the number makes the shortest of them long enough.
CHOSEN = {
    "chaos": 1,
    "deltablue": 20,
    "float": 1,
    "go": 1,
    "hexiom": 10,
    "logging": 300,
    "nbody": 1,
    "raytrace": 1,
    "richards": 2,
    "richards_super": 2,
    "typing_runtime_protocols": 200,
}
STANDIN = f"{PROGRAMS / 'standin'}:{PROGRAMS}"


@functools.cache
def script(version: str, name: str) -> Path:
    """Return a benchmark's script in the installed suite."""
    found = "import pyperformance; print(pyperformance.__path__[0])"
    base = Path(output([python(version), "-c", found]).strip())
    return base / "data-files" / "benchmarks" / f"bm_{name}" / "run_benchmark.py"


@functools.cache
def unreached(name: str) -> int:
    """Return a line that a benchmark never reaches; it is the same for all interpreters."""
    found = list(json.loads((ROOT / "build" / "pythons.json").read_text())["found"])
    command = [python(found[0]), str(PROGRAMS / "unreached.py"), str(script(found[0], name))]
    once = {"PYTHONPATH": STANDIN, "BENCH_LOOPS": "1", "BENCH_REPETITIONS": "1"}
    said = output(command, once)
    return int(said.split()[0])


def pyperformance(version: str, rounds: int) -> list[Figure]:
    """Return what dapper costs the programs of the suite."""
    figures = []
    for name, loops in CHOSEN.items():
        program = script(version, name)
        point = f"--break={program}:{unreached(name)}"
        variables = {
            "PYTHONPATH": STANDIN,
            "BENCH_LOOPS": str(loops),
            "BENCH_REPETITIONS": "3",
        }
        prove_armed(version, [point], program, **variables)
        commands = {
            "plain": [python(version), str(program)],
            "idle": [dapper(version), "run", str(program)],
            "breakpoint": [dapper(version), "run", point, str(program)],
        }
        arms = {arm: Arm(command, variables) for arm, command in commands.items()}
        figures += ratios(version, "pyperformance", name, arms, max(1, rounds // 3))
    return figures
