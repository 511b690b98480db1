"""docs/frame-eval-user-guide.md: every block runs as written, every table says what is."""

from __future__ import annotations

import ast
import json
import re

import pytest
from tests.launch import ROOT
from tests.snippets import Snippet, run_program, snippets

from dapper import _engine
from dapper._frame_eval.frame_eval_main import FrameEvalConfig

GUIDE = ROOT / "docs" / "frame-eval-user-guide.md"
PYTHON = snippets(GUIDE, "python")
PROGRAMS = [snippet for snippet in PYTHON if snippet.file_name is None]
LAUNCHES = snippets(GUIDE, "json")


def run(snippet: Snippet, folder):
    for file in PYTHON:
        if file.file_name is not None:
            (folder / file.file_name).write_text(file.text)
    outcome = run_program(snippet.text, folder)
    assert outcome.status == 0, outcome.err
    assert "Traceback" not in outcome.err
    return outcome.out


def the(opening: str) -> Snippet:
    """The one program that holds these words."""
    [snippet] = [snippet for snippet in PROGRAMS if opening in snippet.text]
    return snippet


def table(name: str) -> dict[str, list[str]]:
    """The rows of a marked table by their first cell, without its quotes."""
    text = GUIDE.read_text()
    [body] = re.findall(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.DOTALL)
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in body.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def test_the_guide_has_its_blocks():
    assert len(PROGRAMS) >= 20
    assert len(LAUNCHES) >= 4


@pytest.mark.parametrize("snippet", PROGRAMS, ids=str)
def test_program_runs_as_written(snippet, tmp_path):
    run(snippet, tmp_path)


@pytest.mark.parametrize("snippet", LAUNCHES, ids=str)
def test_launch_is_understood(snippet):
    launch = json.loads(snippet.text)
    if "backend" in launch:
        assert FrameEvalConfig.of(launch).backend == launch["backend"]
        return
    config = FrameEvalConfig.from_launch(launch)
    assert config.enabled
    asked = launch.get("arguments", launch).get("frameEvalConfig", {})
    assert config.as_dict().items() >= asked.items()


def test_health_check_passes(tmp_path):
    out = run(the("def health_check"), tmp_path)
    assert out.endswith("\nAll health checks passed!\n")
    assert "FAIL" not in out


def test_quick_start_stops_where_the_condition_holds(tmp_path):
    out = run(the("with price"), tmp_path)
    assert out == "line at line 5 with price 20\nline at line 5 with price 300\n321\n"


def test_a_debugger_is_integrated(tmp_path):
    assert run(the("auto_integrate_debugger(debugger)"), tmp_path) == "integrated: True\n"


def test_stepping_goes_from_line_to_line(tmp_path):
    out = run(the('backend.step("over", frame)'), tmp_path)
    assert out.splitlines()[-1] == "[('line', 3), ('line', 4), ('line', 5)]"


def test_the_active_backend_is_told(tmp_path):
    out = run(the("hook in the interpreter now"), tmp_path)
    assert out.splitlines() == [
        "backend: EvalFrameBackend",
        "hook installed: True",
        "hook in the interpreter now: False",
        "fell back because: None",
    ]


def test_an_exception_is_delivered(tmp_path):
    out = run(the("set_exception_breakpoints"), tmp_path)
    assert out == "exception IndexError('pop from empty list')\n"


def test_hits_are_measured(tmp_path):
    assert run(the("performance['hits']"), tmp_path).startswith("hits: 100, ")


def test_bad_option_is_told(tmp_path):
    out = run(the('"backend": "fast"'), tmp_path)
    assert out == (
        "option 'backend' is 'fast': it has to be one of 'auto', 'tracing', 'eval_frame'\n"
    )


def test_table_of_options_is_complete_and_true(monkeypatch):
    monkeypatch.delenv("DAPPER_USE_FRAME_EVAL", raising=False)
    told = {name: ast.literal_eval(row[1].strip("`")) for name, row in table("options").items()}
    assert told == FrameEvalConfig().as_dict()


def test_table_of_reasons_is_complete():
    assert set(table("reasons")) == set(_engine.reason_counts())
