"""A store that was filled from one tree serves a copy of it elsewhere, with other times."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.instrument import Run, cli, summary, tree, write

__all__ = ["cli", "tree"]

COUNT = 12
MODULE = """\
class Shelf:
    def __init__(self, items):
        self.items = items

    def heaviest(self):
        def weight(item):
            return item["weight"]

        return max(self.items, key=weight)


SQUARES = [(lambda x: x * x)(n) for n in range(3)]
NUMBER = {number}


def fail():
    heavy = [item for item in ({{"weight": 1}}, {{}}) if Shelf([item]).heaviest() != 2]
    return heavy
"""
LOOK = """\
import json, sys, traceback, types
from dapper import _engine
import pack
from pack import {names}

def filenames(code):
    yield code.co_filename
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from filenames(constant)

modules = [{names}]
found = set()
for module in modules:
    for value in vars(module).values():
        if isinstance(value, types.FunctionType):
            found |= set(filenames(value.__code__))
        elif isinstance(value, type):
            for method in vars(value).values():
                if isinstance(method, types.FunctionType):
                    found |= set(filenames(method.__code__))
try:
    m0.fail()
except KeyError:
    trace = traceback.format_exc()
counts = _engine.store_counts()
print(json.dumps({{"files": sorted(found), "trace": trace, "counts": counts}}))
"""


def fill(folder: Path) -> list[Path]:
    """Write a package and a program that looks at it."""
    write(folder, "pack/__init__.py", "")
    names = [f"m{number}" for number in range(COUNT)]
    for number, name in enumerate(names):
        write(folder, f"pack/{name}.py", MODULE.format(number=number))
    write(folder, "look.py", LOOK.format(names=", ".join(names)))
    points = "".join(
        f'[[breakpoint]]\nfile = "pack/{name}.py"\nline = {line}\nkind = "count"\n'
        for name in names
        for line in (7, 12)
    )
    write(folder, "points.toml", points)
    return [folder / "pack" / f"{name}.py" for name in names]


@pytest.mark.parametrize("how", ["copied", "exported"])
@pytest.mark.parametrize("options", [["--breakpoints"], ["--every-line", "--breakpoints"], []])
def test_every_module_of_a_copied_tree_is_found_by_content(
    cli: Run, tree: Path, tmp_path: Path, how: str, options: list[str]
):
    fill(tree)
    points = [tree / "points.toml"] if "--breakpoints" in options else []
    summary(cli, "precompile", tree, *options, *points)
    archive = tmp_path / "store.dapper"
    if how == "exported":
        cli("cache", "export", "--root", tree, archive)
        shutil.rmtree(tmp_path / "store")
    elsewhere = tmp_path / "other machine"
    shutil.copytree(tree, elsewhere, copy_function=shutil.copyfile)
    for path in elsewhere.rglob("*.py"):
        os.utime(path, (1_234_567_890, 1_234_567_890))
    shutil.rmtree(tree)
    known = 0
    if how == "exported":
        if options == ["--breakpoints"]:
            # The state of a file that is younger says too little.
            time.sleep(2.1)
            known = COUNT
        cli("cache", "import", "--root", elsewhere, archive)
    env = os.environ | {"DAPPER_CACHE_DIR": str(tmp_path / "store")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "dapper", "run", f"--breakpoints={elsewhere / 'points.toml'}"]
    command += [f"--events={tmp_path / 'events'}", str(elsewhere / "look.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    seen = json.loads(done.stdout)
    # All hits: each module was answered with its variant, or with plain code to make it from.
    counts = seen["counts"]
    assert counts["pack_hits"] == COUNT
    if points:
        assert (counts["misses"], counts["puts"]) == (0, 0)
    else:
        assert (counts["misses"], counts["puts"]) == (COUNT, COUNT)
    # An import has looked at the sources already, if they were there for a while.
    assert (counts["memo_hits"], counts["memo_misses"]) == (known, COUNT - known)
    assert not list((elsewhere / "pack" / "__pycache__").glob("m*.pyc")), "nothing was compiled"
    # The paths are those of the copy, in code inside code too, and so is the source in tracebacks.
    assert seen["files"] == sorted(str(elsewhere / "pack" / f"m{n}.py") for n in range(COUNT))
    first = elsewhere / "pack" / "m0.py"
    for line, function in ((17, "fail"), (9, "heaviest"), (7, "weight")):
        assert f'File "{first}", line {line}, in ' in seen["trace"]
        assert function in seen["trace"]
    assert 'return item["weight"]' in seen["trace"]
    assert str(tree) + os.sep not in seen["trace"]
    rows = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    ends = [row for row in rows if row["event"] == "breakpoint"]
    assert len(ends) == 2 * COUNT
    assert {(row["tier"], row["verified"]) for row in ends} == {("import", True)}
