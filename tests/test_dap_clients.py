"""Debug adapter clients that others wrote: Microsoft's test client and Emacs' dap-mode."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CLIENTS = HERE / "clients"
MODULES = HERE.parent / "build" / "clients"
ADAPTER = HERE.parent / "python" / "dapper" / "adapter"
PATIENCE = 120

ADDS = """\
import sys

def add(a, b):
    total = a + b
    return total

def main():
    total = add(1, 2)
    print(total)

main()
"""
FAILS = """\
import sys

def add(a, b):
    total = a + b
    return total

add(1, 1)
add(2, 1)
add(1, 2) / 0
"""


def program(folder: Path, source: str) -> Path:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return path


@pytest.fixture(scope="session")
def modules() -> Path:
    """Where Microsoft's client is installed; installed on the first use."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: Microsoft's test client needs them")
    wanted = (CLIENTS / "package-lock.json").read_bytes()
    made_from = MODULES / "made-from"
    MODULES.parent.mkdir(exist_ok=True)
    # Several interpreters may be at it: one installs, and the others wait for it.
    with MODULES.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_from.exists() or made_from.read_bytes() != wanted:
            shutil.rmtree(MODULES, ignore_errors=True)
            shutil.copytree(CLIENTS, MODULES)
            command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=MODULES, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                told = done.stderr.strip()[-200:]
                pytest.skip(f"Microsoft's test client cannot be installed: {told}")
            made_from.write_bytes(wanted)
    return MODULES / "node_modules"


def alive(mark: str) -> list[str]:
    """Command lines of the processes that name something."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found


def drive(modules: Path, path: Path, scenario: str) -> None:
    command: list[str | Path] = [
        "node",
        CLIENTS / "drive.js",
        sys.executable,
        ADAPTER,
        path,
        scenario,
    ]
    done = subprocess.run(
        command,
        env=dict(os.environ, NODE_PATH=str(modules)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_microsofts_client_at_a_breakpoint(tmp_path, modules):
    drive(modules, program(tmp_path, ADDS), "breakpoint")


def test_microsofts_client_with_conditions_and_exceptions(tmp_path, modules):
    drive(modules, program(tmp_path, FAILS), "conditions")


def test_microsofts_client_leaves_in_the_middle(tmp_path, modules):
    path = program(tmp_path, ADDS)
    drive(modules, path, "stopping")
    until = time.monotonic() + 30
    while left := alive(str(path)):
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.fixture(scope="session")
def emacs() -> str:
    """Emacs with dap-mode."""
    found = shutil.which("emacs")
    if found is None:
        pytest.skip("emacs is not installed")
    command = [found, "--batch", "--eval", "(progn (package-initialize) (require 'dap-python))"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("dap-mode is not installed in emacs: on Debian it is elpa-dap-mode")
    return found


def test_emacs(tmp_path, emacs):
    path = program(tmp_path, ADDS)
    command: list[str | Path] = [
        emacs,
        "--batch",
        "-l",
        CLIENTS / "drive.el",
        sys.executable,
        ADAPTER,
        path,
    ]
    done = subprocess.run(
        command,
        env=dict(os.environ, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
