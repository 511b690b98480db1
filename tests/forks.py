"""Scripts run in forks of an interpreter that has imported what they import anyway.

A fork is a process of its own and ends as any other, so that scripts are as independent as in
processes that were started for them, without the start that costs most of the time of a short one.
Below the module of a script is one frame more than in a plain run.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.launch import Outcome, environment

# Runs at the top of its module, so that a fork has no frames of functions below its script.
_NURSERY = """\
import importlib, json, os, sys, types
for name in sys.argv[1:]:
    importlib.import_module(name)
for order in sys.stdin.buffer:
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    script, folder, changes, out, err = json.loads(order)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in (1, out), (2, err):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.update(changes)
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(folder, script)
    main.__builtins__ = __builtins__
    sys.argv[:] = [script]
    sys.path[0] = folder
    sys.modules["__main__"] = main
    with open(script, "rb") as source:
        code = compile(source.read(), main.__file__, "exec", dont_inherit=True)
    exec(code, vars(main))
    break
"""
_SECONDS = 60


class _Nursery:
    """The interpreter whose forks run scripts."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment(),
        )
        atexit.register(self.close)

    def run(self, script: str, folder: Path, changes: dict[str, str]) -> Outcome:
        with tempfile.TemporaryDirectory() as told:
            out, err = Path(told, "out"), Path(told, "err")
            order = (script, str(folder), changes, str(out), str(err))
            self._write(json.dumps(order))
            child = int(self._read())
            status = self._read(child)
            return Outcome(int(status), out.read_text(), err.read_text())

    def _write(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(order.encode() + b"\n")

    def _read(self, child: int | None = None) -> bytes:
        output = self._process.stdout
        assert output
        if not select.select([output], [], [], _SECONDS)[0]:
            if child is not None:
                os.kill(child, signal.SIGKILL)
                self._read()
            raise TimeoutError(f"a script has not ended in {_SECONDS} seconds")
        return output.readline()

    def close(self) -> None:
        self._process.communicate(timeout=_SECONDS)


@cache
def _nursery(*modules: str) -> _Nursery:
    return _Nursery(modules)


def forked(script: str, *, cwd: Path, imported: tuple[str, ...] = (), **changes: str) -> Outcome:
    """Run a script of that folder in a fork of an interpreter that has `imported` these modules."""
    return _nursery(*imported).run(script, cwd, changes)
