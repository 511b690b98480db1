"""How long a breakpoint takes to be armed, and to be gone again, in a process full of objects.

Usage: python arming.py FOLDER WORLD
Prints the milliseconds of each as JSON, in the order in which they were taken.
"""

import gc
import importlib
import json
import sys
import time
from pathlib import Path

import dapper

N_FUNCTIONS = 25

PLAIN = "".join(
    f"def function_{i}(a, b=None):\n    c = (a, b)\n    return c\n\n\n" for i in range(N_FUNCTIONS)
)
SERVER = """\
def serve(n):
    total = 0
    while n:
        total += n
        n -= 1
    return total


def generate():
    n = 0
    while True:
        n += 1
        yield n
"""
LONG = "".join(f"def function_{i}(a):\n    b = a\n    return b\n\n\n" for i in range(3000))


def modules(folder: Path, number: int) -> list[object]:
    """Import modules of 25 functions each."""
    sys.path.insert(0, str(folder))
    for i in range(number):
        (folder / f"filler_{i}.py").write_text(PLAIN)
    return [importlib.import_module(f"filler_{i}") for i in range(number)]


def suspended(generate) -> list[object]:
    """Suspend 100,000 generators."""
    generators = [generate() for _ in range(100_000)]
    for generator in generators:
        next(generator)
    return generators


def other():
    """A generator of this file."""
    while True:
        yield 1


def world(name: str, folder: Path, server) -> list[object]:
    """Fill the process."""
    if name == "objects":
        return [[i] for i in range(1_000_000)]
    if name == "modules":
        return modules(folder, 2000)
    if name == "generators":
        return suspended(other)
    if name == "watched":
        return suspended(server.generate)
    return []


def main() -> None:
    """Measure."""
    folder = Path(sys.argv[1])
    (folder / "server.py").write_text(LONG + SERVER if sys.argv[2] == "long" else SERVER)
    sys.path.insert(0, str(folder))
    server = importlib.import_module("server")
    kept = world(sys.argv[2], folder, server)
    dapper.start(dapper.Config(cache_dir=folder / "store"))
    n_before = server.serve.__code__.co_firstlineno - 1
    line = n_before + (11 if sys.argv[2] == "watched" else 4)
    armed, gone = [], []
    for _ in range(7):
        start = time.perf_counter()
        point = dapper.add_breakpoint(server.__file__, line, kind="count")
        between = time.perf_counter()
        if point.tier != "bound":
            raise SystemExit(f"not armed: {point.reason}")
        server.serve(2)
        resume = time.perf_counter()
        dapper.remove_breakpoint(point)
        gone.append(1000 * (time.perf_counter() - resume))
        armed.append(1000 * (between - start))
    print(json.dumps({"arm": armed, "disarm": gone, "objects": len(gc.get_objects())}))
    del kept


if __name__ == "__main__":
    main()
