"""Compile every source of a directory and keep the .pyc files; print how many, and how long it took.

Usage: compile_tree.py SOURCES PYCS
"""

import importlib._bootstrap_external
import sys
import time
from pathlib import Path

sources, pycs = map(Path, sys.argv[1:])
taken = files = 0
for source in sorted(sources.rglob("*.py")):
    data = source.read_bytes()
    start = time.process_time_ns()
    try:
        code = compile(data, str(source), "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        continue
    taken += time.process_time_ns() - start
    files += 1
    target = pycs / source.relative_to(sources).with_suffix(".pyc")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(importlib._bootstrap_external._code_to_timestamp_pyc(code))
print(files)
print(taken)
