"""Loops with a statement at which a condition never holds, and the same with the check by hand.

Usage: conditions.py NAME...

A function's breakpoint is on the line marked with its name; its condition is the test of the first
`if` of the function beside it. For each NAME, what the function takes over the one by hand is
printed: processor time, the least of some runs that take turns.
"""

import sys

from timing import least_of_both

N = 60_000
RUNS = 15


class Thing:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


def int_equal(n):
    for i in range(n):
        x = i  # @int_equal
    return x


def int_equal_by_hand(n):
    for i in range(n):
        if i == -1:
            return i
        x = i
    return x


def str_equal(n):
    name = "some name"
    for i in range(n):
        x = i  # @str_equal
    return x, name


def str_equal_by_hand(n):
    name = "some name"
    for i in range(n):
        if name == "other":
            return i
        x = i
    return x, name


def attribute_equal(n):
    thing = Thing(1)
    for i in range(n):
        x = i  # @attribute_equal
    return x, thing


def attribute_equal_by_hand(n):
    thing = Thing(1)
    for i in range(n):
        if thing.size == 2:
            return i
        x = i
    return x, thing


def subscript_equal(n):
    sizes = {"a": 1}
    for i in range(n):
        x = i  # @subscript_equal
    return x, sizes


def subscript_equal_by_hand(n):
    sizes = {"a": 1}
    for i in range(n):
        if sizes["a"] == 2:
            return i
        x = i
    return x, sizes


def contained(n):
    names = {"a", "b"}
    for i in range(n):
        x = i  # @contained
    return x, names


def contained_by_hand(n):
    names = {"a", "b"}
    for i in range(n):
        if i in names:
            return i
        x = i
    return x, names


def is_none(n):
    thing = Thing(1)
    for i in range(n):
        x = i  # @is_none
    return x, thing


def is_none_by_hand(n):
    thing = Thing(1)
    for i in range(n):
        if thing is None:
            return i
        x = i
    return x, thing


def instance(n):
    thing = Thing(1)
    for i in range(n):
        x = i  # @instance
    return x, thing


def instance_by_hand(n):
    thing = Thing(1)
    for i in range(n):
        if isinstance(thing, str):
            return i
        x = i
    return x, thing


def combined(n):
    found, limit = None, -1
    for i in range(n):
        x = i  # @combined
    return x, found, limit


def combined_by_hand(n):
    found, limit = None, -1
    for i in range(n):
        if not (i > limit or found) and found is None:
            return i
        x = i
    return x, found, limit


def length(n):
    items = [1, 2, 3]
    for i in range(n):
        x = i  # @length
    return x, items


def length_by_hand(n):
    items = [1, 2, 3]
    for i in range(n):
        if len(items) > 5:
            return i
        x = i
    return x, items


if __name__ == "__main__":
    for name in sys.argv[1:]:
        taken, plain = least_of_both(globals()[name], globals()[f"{name}_by_hand"], N, RUNS)
        print(taken / plain, end=" ")
