"""Remove the sources of a directory that do not compile.

Usage: prune_corpus.py DIRECTORY
"""

import os
import sys
import warnings

warnings.simplefilter("ignore")
for folder, _, found in os.walk(sys.argv[1]):
    for name in found:
        if not name.endswith(".py"):
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            data = file.read()
        try:
            compile(data, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            os.remove(path)
