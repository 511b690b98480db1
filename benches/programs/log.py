"""Loops that log: by hand with `print`, or not at all where a log breakpoint does it.

Usage: log.py NAME [FILE]; with FILE the program prints to it by itself.
Prints the least nanoseconds of one iteration, of processor time (all threads) and of wall time.
"""

import sys
import time

import layout

N = 100_000
REPETITIONS = 5

layout.scatter()


class Thing:
    def __init__(self):
        self.size = 1


def one_field(n):
    for i in range(n):
        x = i
        y = x  # @one_field
    return y


def one_field_by_hand(n, f):
    for i in range(n):
        x = i
        print(f"x={x}", file=f)
        y = x
    return y


def fields(n):
    name, thing = "some name", Thing()
    for i in range(n):
        x = i
        y = x  # @fields
    return y, name, thing


def fields_by_hand(n, f):
    name, thing = "some name", Thing()
    for i in range(n):
        x = i
        print(f"{x:>8} {name!r} {thing.size}", file=f)
        y = x
    return y, name, thing


def measure(work, *more):
    processor, wall = [], []
    for _ in range(REPETITIONS):
        start, began = time.process_time_ns(), time.perf_counter_ns()
        work(N, *more)
        processor.append(time.process_time_ns() - start)
        wall.append(time.perf_counter_ns() - began)
    print(min(processor) / N, min(wall) / N)


if len(sys.argv) > 2:
    with open(sys.argv[2], "w") as f:
        measure(globals()[f"{sys.argv[1]}_by_hand"], f)
else:
    measure(globals()[sys.argv[1]])
