"""How the programs measure themselves."""

import time

REPETITIONS = 7


def best_of(work, n):
    """Return the least processor time, in nanoseconds, of a few calls of `work(n)`."""
    best = None
    for _ in range(REPETITIONS):
        start = time.process_time_ns()
        work(n)
        taken = time.process_time_ns() - start
        best = taken if best is None else min(best, taken)
    return best
