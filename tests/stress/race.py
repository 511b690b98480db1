"""Breakpoints are set and removed at random while eight threads run: is any hit lost or wrong?

Usage: python race.py SECONDS SEED [--backend NAME] [--promotion off] [--switch NAMES] [--early]

Every counted line of `target` counts its own executions exactly. Breakpoints that are armed
throughout must have counted the same number. For one that is armed and removed at random, the
hits lie between the executions surely inside the time when it was armed and those possibly
inside: a thread may stand between the line's beginning, where the hit is, and its counter.
Prints what was done as JSON; a failure is a message and status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import importlib
import json
import random
import re
import sys
import threading
import time
from pathlib import Path

import dapper
from dapper import _engine

HERE = Path(__file__).resolve().parent
SOURCE = (HERE / "target.py").read_text()
LINES = {
    found[1]: number
    for number, line in enumerate(SOURCE.splitlines(), 1)
    if (found := re.search(r'tick\["([a-z ]+)"\]\(\)', line))
}
N_WORKERS = 8
problems: list[str] = []


def problem(text: str) -> None:
    problems.append(text)
    print(text, file=sys.stderr, flush=True)


def worker(target, index: int, moved: list[int]) -> None:
    """One thread's work; tells when anything comes out wrong."""
    endless = target.forever()
    last = 0
    try:
        while target.going[0]:
            moved[index] += 1
            if index == 0:
                target.serve()
            elif index == 1:
                asyncio.run(target.serve_async())
            n = moved[index]
            assert target.call(n) == n + 1
            assert target.recurse(12) == 12
            assert target.Thing.make(3) == [0, 1, 2]
            target.swallows(n)
            assert target.raises(n) == n
            assert target.closure(n) == 2 * n + 3
            assert target.defaults(1, 2, 3, 4, c=5, d=6) == 11
            assert list(target.numbers(4)) == [0, 1, 2, 3]
            generator = target.delegate(9)
            assert [next(generator), next(generator)] == [0, 1]
            with contextlib.suppress(StopIteration):
                generator.send("enough")
            half = target.numbers(5)
            next(half)
            half.close()
            for _ in range(3):
                last += 1
                assert next(endless) == last
            if n % 50 == 0:
                endless, last = target.forever(), 0
    except BaseException as error:
        problem(f"worker {index}: {error!r}")
        raise


class Hits:
    """What stops are told; a callback that looks at its frame."""

    def __init__(self, line: int) -> None:
        self.line = line

    def __call__(self, hit: dapper.Hit) -> None:
        frame = hit.frame
        if frame.f_lineno != self.line or hit.line != self.line:
            problem(f"hit at {frame.f_lineno}, told {hit.line}, asked for {self.line}")
        if frame.f_code.co_name != hit.function.rpartition(".")[2]:
            problem(f"hit in {frame.f_code.co_name}, told {hit.function}")


class Interval:
    """A breakpoint that is armed for a while."""

    def __init__(self, target, name: str, *, stops: bool) -> None:
        self.target = target
        self.name = name
        line = LINES[name]
        self.possibly = target.tick.count(name)
        if stops:
            self.point = dapper.add_breakpoint(target.__file__, line, on_hit=Hits(line))
        else:
            self.point = dapper.add_breakpoint(target.__file__, line, kind="count")
        self.surely = target.tick.count(name)
        if self.point.tier is None:
            problem(f"{name} is nowhere: {self.point.reason}")

    def end(self) -> int:
        n_surely = self.target.tick.count(self.name) - self.surely
        self.tier = self.point.tier
        dapper.remove_breakpoint(self.point)
        n_possibly = self.target.tick.count(self.name) - self.possibly
        hits = self.point.hits
        if not n_surely - N_WORKERS <= hits <= n_possibly + N_WORKERS:
            problem(f"{self.name}: {hits} hits, executions {n_surely} to {n_possibly}")
        return hits


def setting(rng: random.Random, options: argparse.Namespace) -> None:
    """Another way to reach code, while all is armed."""
    choice = rng.choice(options.switch.split(","))
    if choice in ("on", "off"):
        _engine.set_promotion(choice == "on")
    elif choice != "sys_monitoring" or hasattr(sys, "monitoring"):
        _engine.set_backend(choice)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--backend", default="eval_frame")
    parser.add_argument("--promotion", choices=["on", "off"], default="on")
    parser.add_argument("--switch", default="", help="settings to change meanwhile, with commas")
    parser.add_argument("--early", action="store_true", help="arm before the import")
    return parser.parse_args()


def begin(rng: random.Random, options: argparse.Namespace):
    """Import the target and arm half of its lines for good, in the order asked for."""
    dapper.start()
    _engine.set_backend(options.backend)
    _engine.set_promotion(options.promotion == "on")
    sys.path.insert(0, str(HERE))
    if not options.early:
        importlib.import_module("target")
    steady = {
        name: dapper.add_breakpoint(HERE / "target.py", LINES[name], kind="count")
        for name in rng.sample(sorted(LINES), len(LINES) // 2)
    }
    target = importlib.import_module("target")
    # Two threads that make the same counter at once would count by two.
    for name in LINES:
        target.tick.count(name)
    return target, steady


def toggle(rng: random.Random, options: argparse.Namespace, target) -> dict[str, object]:
    """Arm and remove at random until the time is over."""
    end = time.monotonic() + options.seconds
    names = sorted(LINES)
    armed: list[Interval] = []
    n_intervals = n_hits = 0
    tiers: dict[str, int] = {}
    while time.monotonic() < end and not problems:
        if len(armed) < 6 and rng.random() < 0.6:
            armed.append(Interval(target, rng.choice(names), stops=rng.random() < 0.2))
        elif armed:
            gone = armed.pop(rng.randrange(len(armed)))
            n_hits += gone.end()
            n_intervals += 1
            tiers[str(gone.tier)] = tiers.get(str(gone.tier), 0) + 1
        if options.switch and rng.random() < 0.05:
            setting(rng, options)
        if rng.random() < 0.02:
            gc.collect()
        time.sleep(rng.choice([0, 0, 0.001, 0.01]))
    for interval in armed:
        n_hits += interval.end()
    return {"intervals": n_intervals, "hits": n_hits, "tiers": tiers}


def look_for_remains() -> None:
    """Tell what is hooked in the interpreter after the session."""
    left = []
    if _engine.entry_hook_installed() or _engine.eval_frame_hooked():
        left.append("hook")
    if sys.gettrace() is not None or threading.gettrace() is not None:
        left.append("trace function")
    if hasattr(sys, "monitoring") and any(map(sys.monitoring.get_tool, range(6))):
        left.append("monitoring tool")
    if left:
        problem(f"left behind: {left}")


def main() -> int:
    """Run the race and judge it."""
    options = arguments()
    faulthandler.enable()
    faulthandler.dump_traceback_later(options.seconds + 100, exit=True)
    rng = random.Random(options.seed)
    sys.setswitchinterval(rng.choice([1e-6, 1e-4, 5e-3]))
    target, steady = begin(rng, options)
    moved = [0] * N_WORKERS
    workers = [
        threading.Thread(target=worker, args=(target, index, moved), daemon=True)
        for index in range(N_WORKERS)
    ]
    for thread in workers:
        thread.start()
    done = toggle(rng, options, target)
    target.going[0] = False
    for thread in workers:
        thread.join(60)
        if thread.is_alive():
            problem("a thread does not end")
    counts = {name: target.tick.count(name) for name in LINES}
    wrong = {
        name: (point.hits, counts[name])
        for name, point in steady.items()
        if point.hits != counts[name]
    }
    if wrong:
        problem(f"steady breakpoints counted (hits, executions): {wrong}")
    done |= {"executions": sum(counts.values()), "rounds": moved, "counters": _engine.counters()}
    dapper.stop()
    look_for_remains()
    print(json.dumps(done | {"problems": problems}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
