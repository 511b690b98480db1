"""Running programs plainly and under `dapper run`, and reading what was recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """What a finished process left behind."""

    status: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with the package on the path and no session in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DAPPER") and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    }
    return {**kept, "PYTHONPATH": str(ROOT / "python"), **changes}


def python(*args: str | Path, cwd: Path, stdin: str = "", **changes: str) -> Outcome:
    """Run the interpreter of this test."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(**changes),
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def dapper_run(*args: str | Path, cwd: Path, stdin: str = "", **changes: str) -> Outcome:
    """Run `dapper run`, with a store of the test's own."""
    store = {"DAPPER_CACHE_DIR": str(cwd / "store"), **changes}
    return python("-m", "dapper", "run", *args, cwd=cwd, stdin=stdin, **store)


def events(path: Path) -> list[dict[str, Any]]:
    """Read a record of hits."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def hits(path: Path) -> list[tuple[str, int]]:
    """Read the (function, line) of every hit in a record."""
    return [(row["function"], row["line"]) for row in events(path) if row["event"] == "hit"]


def write(folder: Path, **files: str) -> None:
    """Write modules, `package__module` as `package/module.py`."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
