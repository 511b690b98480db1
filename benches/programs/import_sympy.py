"""Time the import of a large package, from inside the program."""

import time

start = time.process_time_ns()
import sympy  # noqa: E402, F401

print(time.process_time_ns() - start)


def never():
    return 1  # @cold
