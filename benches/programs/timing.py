"""How the programs measure themselves."""

import time

import layout

REPETITIONS = 7

# A program imports this module first, so its functions and classes come after the scatter.
layout.scatter()


def best_of(work, n, repetitions=REPETITIONS):
    """Return the least processor time, in nanoseconds, of a few calls of `work(n)`."""
    best = None
    for _ in range(repetitions):
        start = time.process_time_ns()
        work(n)
        taken = time.process_time_ns() - start
        best = taken if best is None else min(best, taken)
    return best


def least_of_both(first, second, n, runs):
    """Return the least processor time of `first(n)` and of `second(n)`, which take turns."""
    times = [], []
    for _ in range(runs):
        for work, taken in zip((first, second), times, strict=True):
            start = time.process_time_ns()
            work(n)
            taken.append(time.process_time_ns() - start)
    return tuple(map(min, times))
