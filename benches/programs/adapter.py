"""What a debug adapter is measured with; lines are found by their marks.

Usage: adapter.py WHAT [COUNT | FOLDER]
"""

import importlib
import sys
from pathlib import Path


def first():
    return 1  # @first


def steps(n):
    total = 0  # @steps
    for i in range(n):
        a = i
        b = a + 1
        total += b
    return total


def hits(n):
    for i in range(n):
        x = i  # @hits
    return x


def messages(n):
    n += 0  # @begin
    for i in range(n):
        x = i
        y = x  # @messages
    return y


def values(items):
    here = len(items)
    return here  # @values


def modules(folder):
    sys.path.insert(0, folder)
    names = sorted(path.stem for path in Path(folder).glob("*.py"))
    loaded = [importlib.import_module(name) for name in names]
    return loaded  # @modules


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "first":
        first()
    elif what == "values":
        values(list(range(int(rest[0]))))
    elif what == "modules":
        modules(rest[0])
    else:
        {"steps": steps, "hits": hits, "messages": messages}[what](int(rest[0]))
