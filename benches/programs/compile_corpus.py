"""Compile every source of some directories; print how many, their bytes, and the processor time.

Usage: compile_corpus.py [--prune] SOURCES...

What is timed is `compile` alone. `--prune` removes what does not compile.
"""

import itertools
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
prune = sys.argv[1] == "--prune"
taken = files = size = 0
for folder, names, found in itertools.chain.from_iterable(map(os.walk, sys.argv[1 + prune :])):
    for name in found:
        if not name.endswith(".py"):
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            data = file.read()
        start = time.process_time_ns()
        try:
            compile(data, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            if prune:
                os.remove(path)
            continue
        taken += time.process_time_ns() - start
        files += 1
        size += len(data)
print(files, size, taken)
