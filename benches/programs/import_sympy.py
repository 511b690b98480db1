"""Import a large package; print the processor time, the wall time and the peak of the memory."""

import time

import layout
import peak

layout.scatter()
start, start_wall = time.process_time_ns(), time.perf_counter_ns()
import sympy  # noqa: E402, F401

taken, taken_wall = time.process_time_ns() - start, time.perf_counter_ns() - start_wall
print(taken, taken_wall, peak.megabytes())


def never():
    return 1  # @cold
