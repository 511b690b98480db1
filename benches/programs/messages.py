"""A loop with a statement at which a message is written, and the same with `print`.

The file that `print` writes to is in the environment: BENCH_LOG.
"""

import os

N = 100_000


def logged(n):
    for i in range(n):
        x = i
        y = x  # @logged
    return y


def logged_by_hand(n):
    with open(os.environ["BENCH_LOG"], "a") as f:
        for i in range(n):
            x = i
            print(f"x={x}", file=f)
            y = x
    return y
