"""What the programs of pyperformance need of `pyperf`: each body runs a fixed number of times.

The sum over the bodies of a program, each the least processor time of BENCH_REPETITIONS, is printed
at the end.
"""

import argparse
import asyncio
import atexit
import os
import time

import layout

layout.scatter()

LOOPS = int(os.environ.get("BENCH_LOOPS", "1"))
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "5"))
_total = []

perf_counter = time.process_time


def python_implementation():
    return "cpython"


class Runner:
    def __init__(self, **options):
        self.argparser = argparse.ArgumentParser()
        self.metadata = {}
        atexit.register(lambda: print(round(sum(_total) * 1e9)))

    def parse_args(self):
        return self.argparser.parse_args()

    def bench_time_func(self, name, function, *args, inner_loops=None):
        """`function(loops, ...)` measures itself with `perf_counter`."""
        _total.append(min(function(LOOPS, *args) for _ in range(REPETITIONS)))

    def bench_func(self, name, function, *args, inner_loops=None):
        def timed(loops):
            start = perf_counter()
            for _ in range(loops):
                function(*args)
            return perf_counter() - start

        self.bench_time_func(name, timed)

    def bench_async_func(self, name, function, *args, inner_loops=None):
        self.bench_func(name, lambda: asyncio.run(function(*args)))
