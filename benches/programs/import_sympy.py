"""Time the import of a large package from inside the program: processor time, then wall time."""

import time

import layout

layout.scatter()
start, start_wall = time.process_time_ns(), time.perf_counter_ns()
import sympy  # noqa: E402, F401

print(time.process_time_ns() - start, time.perf_counter_ns() - start_wall)


def never():
    return 1  # @cold
