"""Print a line that a script never reaches, in the function that is called most of those with one.

Usage: unreached.py SCRIPT

Functions of the script itself count. If each of those that run is run through, the line is in one
that is never called.
"""

import contextlib
import io
import os
import runpy
import sys
from collections import Counter


def codes_of(code):
    """Yield the functions of a module, not its classes' bodies."""
    for inner in code.co_consts:
        if hasattr(inner, "co_code"):
            if inner.co_flags & 0x3 == 0x3:  # CO_OPTIMIZED | CO_NEWLOCALS: a function
                yield inner
            yield from codes_of(inner)


script = sys.argv[1]
calls = Counter()
reached = set()


def trace(frame, event, arg):
    code = frame.f_code
    if code.co_filename != script:
        return None
    if event == "call":
        calls[code.co_firstlineno, code.co_name] += 1
    elif event == "line":
        reached.add(frame.f_lineno)
    return trace


sys.argv = [script]
sys.path.insert(0, os.path.dirname(script))
sys.settrace(trace)
with contextlib.redirect_stdout(io.StringIO()):
    runpy.run_path(script, run_name="__main__")
sys.settrace(None)
with open(script, encoding="utf-8") as source:
    module = compile(source.read(), script, "exec")
candidates = []
for code in codes_of(module):
    lines = {line for _, _, line in code.co_lines() if line and line > code.co_firstlineno}
    unreached = lines - reached
    if unreached:
        called = calls[code.co_firstlineno, code.co_name]
        candidates.append((called, min(unreached)))
print(max(candidates)[1])
