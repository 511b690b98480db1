"""Sessions begin and end many times: what is left of them?

Usage: python cycles.py NUMBER BACKEND PROMOTION

Each cycle arms breakpoints in functions, in a suspended generator and in code that makes
functions, runs them, and ends the session. Afterwards everything has to be as before, by identity,
and the number of objects and memory blocks must not have grown.
"""

import gc
import importlib
import sys
import threading
from pathlib import Path

import dapper
from dapper import _engine

SOURCE = """\
import functools


def plain(n):
    total = 0
    for i in range(n):
        total += i
    return total


def make():
    def inner():
        return 1
    return inner


class Thing:
    def method(self):
        return 2

    @property
    def value(self):
        return 3


@functools.lru_cache
def cached(n):
    return n


def numbers():
    n = 0
    while True:
        n += 1
        yield n
"""
N_MARKS = 5
LINES = {7: 3, 13: 1, 19: 1, 23: 1, 28: 1, 34: 2}


def codes(module):
    """All code of the module that something holds, in order."""
    found = []

    def visit(code):
        found.append(code)
        for constant in code.co_consts:
            if hasattr(constant, "co_code"):
                visit(constant)

    for function in (
        module.plain,
        module.make,
        module.Thing.method,
        module.Thing.value.fget,
        module.cached.__wrapped__,
        module.numbers,
    ):
        visit(function.__code__)
    return found


def cycle(module, number: int) -> None:
    """One session."""
    hits: list[dapper.Hit] = []
    suspended = module.numbers()
    next(suspended)
    dapper.start()
    points = {
        line: dapper.add_breakpoint(module.__file__, line, on_hit=hits.append) for line in LINES
    }
    module.plain(3)
    module.make()()
    module.Thing().method()
    assert module.Thing().value == 3
    module.cached(number)
    module.cached.cache_clear()
    fresh = module.numbers()
    assert (next(suspended), next(fresh)) == (2, 1)
    got = {line: point.hits for line, point in points.items()}
    assert got == LINES, (got, [point.reason for point in points.values()])
    assert len(hits) == sum(LINES.values())
    if number % 2:
        # A generator that outlives its session.
        del fresh
    dapper.stop()
    assert next(suspended) == 3
    assert len(hits) == sum(LINES.values())


def state() -> dict[str, object]:
    """What the interpreter shows of us."""
    monitoring = getattr(sys, "monitoring", None)
    return {
        "hooks": dapper.status().hooks,
        "hook": (_engine.entry_hook_installed(), _engine.eval_frame_hooked()),
        "trace": (sys.gettrace(), threading.gettrace()),
        "tools": [monitoring.get_tool(i) for i in range(6)] if monitoring else [],
        "idle": _engine.is_idle(),
    }


def figures() -> tuple[int, int, int]:
    """Objects, memory blocks, and resident KiB."""
    # Types keep the names that were looked up in them, those made while running, too.
    clear = "_clear_internal_caches" if sys.version_info >= (3, 13) else "_clear_type_cache"
    getattr(sys, clear)()
    gc.collect()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    resident = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return len(gc.get_objects()), sys.getallocatedblocks(), sum(resident)


def main() -> None:
    """Run the cycles and compare."""
    number, backend, promotion = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    folder = Path(sys.argv[4])
    (folder / "cycled.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    cycled = importlib.import_module("cycled")

    _engine.set_backend(backend)
    _engine.set_promotion(promotion == "on")
    originals = codes(cycled)
    before = state()
    marks = []
    for i in range(number):
        cycle(cycled, i)
        if i % 50 == 0 or i == number - 1:
            now = codes(cycled)
            assert len(now) == len(originals)
            assert all(a is b for a, b in zip(now, originals, strict=True)), i
            assert state() == before, (i, state())
        if i % (number // N_MARKS) == number // N_MARKS - 1:
            marks.append(figures())
    # Free lists empty at any time; what is lost in each cycle shows in all of them.
    pairs = zip(marks[1:], marks, strict=False)
    grown = [min(figure) for figure in zip(*map(differences, pairs), strict=True)]
    print("objects, blocks, KiB:", marks, "grown by", grown)
    n_cycles = number // N_MARKS
    assert grown[0] < n_cycles // 10, marks
    assert grown[1] < n_cycles // 10, marks
    assert marks[-1][2] - marks[1][2] < 1024, marks


def differences(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> list[int]:
    """How much each figure grew."""
    return [after - before for after, before in zip(*pair, strict=True)]


main()
