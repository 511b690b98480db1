"""Be a compile worker that also says how much processor time `compile` takes.

Usage: timed_worker.py FOLDER -I -S ... -c CODE ARGUMENTS... : what stands before `-c` is ignored,
as whoever starts this gives it to the interpreter itself. The sum so far, in ns, is written to a
file of the folder after every call, since workers are killed when there is no more to do.
"""

import builtins
import os
import sys
import time

folder, *arguments = sys.argv[1:]
at = arguments.index("-c")
code = arguments[at + 1]
really_compile = builtins.compile
taken = 0
said = os.open(os.path.join(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY, 0o600)
os.pwrite(said, b"0", 0)


def timed_compile(*given, **named):
    """Compile, and add the time it took to the sum."""
    global taken
    start = time.process_time_ns()
    try:
        return really_compile(*given, **named)
    finally:
        taken += time.process_time_ns() - start
        os.pwrite(said, b"%d" % taken, 0)


sys.argv = ["-c", *arguments[at + 2 :]]
program = really_compile(code, "<string>", "exec", dont_inherit=True)
builtins.compile = timed_compile
exec(program, {"__name__": "__main__"})
