"""Loops with a statement at which hits are counted, and the same with a counter by hand.

Usage: hits.py NAME...

A function's breakpoint is on the line marked with its name. For each NAME, what the function takes
over the one by hand is printed: processor time, the least of some runs that take turns.
"""

import sys

from timing import least_of_both

N = 60_000
RUNS = 15


def counted(n):
    for i in range(n):
        x = i  # @counted
    return x


def counted_by_hand(n):
    hits = 0
    for i in range(n):
        hits += 1
        x = i
    return x, hits


def every(n):
    for i in range(n):
        x = i  # @every
    return x


def every_by_hand(n):
    hits = fired = 0
    for i in range(n):
        hits += 1
        if hits % 1_000_000 == 0:
            fired += 1
        x = i
    return x, fired


def once(n):
    for i in range(n):
        x = i  # @once
    return x


def once_by_hand(n):
    hits = fired = 0
    for i in range(n):
        hits += 1
        if hits == 100_000_000:
            fired += 1
        x = i
    return x, fired


def after(n):
    for i in range(n):
        x = i  # @after
    return x


def after_by_hand(n):
    hits = fired = 0
    for i in range(n):
        hits += 1
        if hits > 100_000_000:
            fired += 1
        x = i
    return x, fired


if __name__ == "__main__":
    for name in sys.argv[1:]:
        taken, plain = least_of_both(globals()[name], globals()[f"{name}_by_hand"], N, RUNS)
        print(taken / plain, end=" ")
