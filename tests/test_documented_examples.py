"""The examples that the interface was first described with run as they were written.

Those that are about a debugger get one, a stock pdb; a `config` that an example only names is set
up after it, as the text around it says.
"""

from __future__ import annotations

import json
import re

import pytest
from tests.launch import ROOT
from tests.snippets import run_program

from dapper._frame_eval.frame_eval_main import FrameEvalConfig

EXAMPLES = ROOT / "fixtures" / "spec"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
LAUNCHES = sorted(EXAMPLES.glob("*.json"))

READER = """\
import pdb
import runpy

from dapper._frame_eval.frame_eval_main import frame_eval_manager


class Debugger(pdb.Pdb):
    set_breakpoint = pdb.Pdb.set_break


debugger = Debugger()
names = {{"debugger": debugger, "debugger_instance": debugger}}
done = runpy.run_path({path!r}, names, "__main__")
if "config" in done:
    active = frame_eval_manager.setup_frame_eval(done["config"])
    assert active == done["config"].get("enabled", False), active
frame_eval_manager.shutdown()
"""


def run(name: str, folder) -> str:
    (folder / "file.py").write_text("x = 1\n" * 12)
    outcome = run_program(READER.format(path=str(EXAMPLES / name)), folder)
    assert outcome.status == 0, outcome.err
    assert "Traceback" not in outcome.err
    return outcome.out


def test_the_examples_are_there():
    assert len(PROGRAMS) == 20
    assert len(LAUNCHES) == 4


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_example_runs_as_written(path, tmp_path):
    run(path.name, tmp_path)


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_launch_is_understood(path):
    launch = json.loads(re.sub(r" +(#|//).*", "", path.read_text()))
    if "backend" in launch:
        assert FrameEvalConfig.of(launch).as_dict().items() >= launch.items()
    else:
        assert FrameEvalConfig.from_launch(launch).enabled


def test_health_check_passes(tmp_path):
    out = run("health_check.py", tmp_path)
    assert out.endswith("All health checks passed!\n")
    assert "OK Frame evaluation activated successfully\n" in out
    assert "OK Cython functions working: ThreadInfo\n" in out


def test_hook_counters_are_named(tmp_path):
    out = run("hook_counters.py", tmp_path)
    names = ("slow_path_attempts", "slow_path_activations", "scoped_trace_installs")
    assert all(f"{name}=" in out for name in (*names, "return_events", "exception_events"))


def test_diagnosis_tells_that_it_is_off(tmp_path):
    assert "Frame evaluation is disabled\n" in run("diagnosis.py", tmp_path)
