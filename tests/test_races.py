"""No hit is lost or wrong while breakpoints come and go: `tests/stress/race.py` says how.

A short run by default; `DAPPER_RACE_SECONDS=300` makes each of them as long as wanted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.launch import environment

STRESS = Path(__file__).resolve().parent / "stress"
SECONDS = float(os.environ.get("DAPPER_RACE_SECONDS", "3"))
SETTINGS = "eval_frame,settrace,sys_monitoring,on,off"

RUNS = {
    "bound": ["1"],
    "entry": ["2", "--promotion", "off"],
    "import": ["3", "--early"],
    "changing": ["4", "--switch", SETTINGS],
}


def run(program: str, *arguments: str, timeout: float) -> str:
    """Run a program of the folder in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(STRESS / program), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(SECONDS + 200)
@pytest.mark.parametrize("name", RUNS)
def test_no_hit_is_lost_or_wrong(name: str) -> None:
    assert '"problems": []' in run("race.py", str(SECONDS), *RUNS[name], timeout=SECONDS + 150)


SESSIONS = [("eval_frame", "on"), ("eval_frame", "off"), ("settrace", "on")]
SESSIONS += [("sys_monitoring", "on")] * hasattr(sys, "monitoring")


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("backend", "promotion"), SESSIONS)
def test_a_thousand_sessions_leave_nothing_behind(
    backend: str, promotion: str, tmp_path: Path
) -> None:
    arguments = ["1000", backend, promotion, str(tmp_path)]
    assert "grown by" in run("cycles.py", *arguments, timeout=150)
