"""A loop that logs: by hand with `print`, or not at all where a log breakpoint does it.

Usage: log.py [FILE]; with FILE the program prints to it by itself.
Prints the least nanoseconds of one iteration, of processor time (all threads) and of wall time.
"""

import sys
import time

import layout

N = 100_000
REPETITIONS = 5

layout.scatter()


def work(n):
    for i in range(n):
        x = i
        y = x  # @log
    return y


def work_and_print(n, f):
    for i in range(n):
        x = i
        print(f"x={x}", file=f)
        y = x
    return y


def measure(work, *more):
    processor, wall = [], []
    for _ in range(REPETITIONS):
        start, began = time.process_time_ns(), time.perf_counter_ns()
        work(N, *more)
        processor.append(time.process_time_ns() - start)
        wall.append(time.perf_counter_ns() - began)
    print(min(processor) / N, min(wall) / N)


if len(sys.argv) > 1:
    with open(sys.argv[1], "w") as f:
        measure(work_and_print, f)
else:
    measure(work)
