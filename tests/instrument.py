"""What the tests of `dapper-instrument` share: running it, writing sources, reading reports."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GOOD = "def f(x):\n    y = x + 1\n    return y\n\n\nprint(f(1))\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder for sources."""
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Run the command with a store of its own; the status must be the expected one."""

    def run(
        *arguments: str | Path,
        status: int = 0,
        env: dict[str, str] | None = None,
        limit: int | None = None,
        stack: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        def restrict() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if stack is not None:
                resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))

        done = subprocess.run(
            [sys.executable, "-m", "dapper.instrument_cli", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | {"DAPPER_CACHE_DIR": str(tmp_path / "store")} | (env or {}),
            preexec_fn=restrict if limit or stack else None,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "panicked" not in done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def write(folder: Path, name: str, content: str | bytes = GOOD) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def summary(run: Run, *arguments: str | Path, **options: Any) -> dict[str, Any]:
    done = run(*arguments, "--json", **options)
    (line,) = done.stdout.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def reasons(refusals: list[dict[str, str]]) -> dict[str, str]:
    return {Path(refusal["file"]).name: refusal["reason"] for refusal in refusals}


def packs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store").rglob("*.pack"))


def damage(pyc: Path, how: str) -> None:
    content = pyc.read_bytes()
    if how == "truncated":
        pyc.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        pyc.write_bytes(b"")
    elif how == "other version":
        pyc.write_bytes((3394).to_bytes(2, "little") + content[2:])
    elif how == "garbage":
        pyc.write_bytes(content[:16] + os.urandom(len(content) - 16))
