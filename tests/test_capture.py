"""Breakpoints that record snapshots: in every tier, beside every kind, and within their limits."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.conditions import TIERS, Program

import dapper
from dapper import _engine

PATIENT = {"time_budget_s": 20.0}

FUNCTION = """\
class Slotted:
    __slots__ = ("x", "__private", "empty")

    def __init__(self, x):
        self.x = x
        self.__private = "p"

    def __getattribute__(self, name):
        raise AssertionError(name)

def f(x, password="hunter2"):
    slotted = Slotted(x)
    total = x + 1
    return total  # here

def call(*numbers):
    for number in numbers:
        f(number)
    return len(numbers)
"""


@pytest.fixture(params=TIERS)
def tier(request):
    return request.param


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    _engine.set_log_target(f"jsonl:{path}")
    yield path
    _engine.set_log_target("stderr")


@pytest.fixture
def program(tmp_path, monkeypatch, tier, log):
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(source, **options):
        dapper.start(Program.config(tmp_path, tier, **options))
        made.append(Program(tmp_path, source, tier))
        return made[0]

    yield make
    dapper.stop()
    for one in made:
        sys.modules.pop(one.name, None)


def recorded(log: Path) -> list[dict[str, Any]]:
    assert _engine.flush_log() == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_snapshot_shows_the_frame_that_was_hit(program, log):
    made = program(FUNCTION)
    capture = {**PATIENT, "expressions": ["total * 2", "nothing"], "stack_depth": 2}
    assert made.run(lambda m: m.call(1, 2), capture=capture, kind=None) == 2
    first, second = recorded(log)
    assert first["event"] == "snapshot"
    assert (first["hits"], second["hits"]) == (1, 2)
    assert (first["breakpoint"], first["line"]) == (made.points[0].id, made.line())
    assert [frame["function"] for frame in second["stack"]] == ["f", "call"]
    assert second["stack"][0]["line"] == made.line()
    assert second["stack"][0]["locals"] == {
        "x": "2",
        "password": "<redacted>",
        "slotted": "<Slotted _Slotted__private='p' x=2>",
        "total": "3",
    }
    assert second["expressions"] == [
        {"expression": "total * 2", "value": "6"},
        {"expression": "nothing", "error": "NameError: name 'nothing' is not defined"},
    ]
    assert not second["truncated"]
    (point,) = made.points
    assert (point.kind, point.hits, point.snapshots) == ("snapshot", 2, 2)


def test_condition_and_hit_rule_come_first(program, log):
    made = program(FUNCTION)
    made.run(
        lambda m: m.call(*range(10)),
        "x % 2",
        hit_condition="> 2",
        capture=PATIENT,
        kind=None,
    )
    assert [row["stack"][0]["locals"]["x"] for row in recorded(log)] == ["5", "7", "9"]
    assert [point.hits for point in made.points] == [5]


@pytest.mark.parametrize("condition", [None, "x > 1"])
@pytest.mark.parametrize("message", ["plain", "x={x}"])
def test_a_log_line_with_a_snapshot(program, log, condition, message):
    made = program(FUNCTION)
    capture = {**PATIENT, "expressions": ["x"]}
    made.run(lambda m: m.call(1, 2), condition, log_message=message, capture=capture)
    rows = recorded(log)[-2:]
    assert [row["event"] for row in rows] == ["log", "snapshot"]
    assert rows[0]["message"] == message.replace("{x}", "2")
    assert rows[1]["expressions"] == [{"expression": "x", "value": "2"}]
    assert made.points[0].snapshots == (2 if condition is None else 1)


def test_a_count_with_a_snapshot(program, log):
    made = program(FUNCTION)
    made.run(lambda m: m.call(1, 2), "x > 1", kind="count", capture=True)
    assert [row["event"] for row in recorded(log)] == ["snapshot"]
    assert [(point.kind, point.hits) for point in made.points] == [("count", 1)]


def test_a_stop_with_a_snapshot(program, log):
    made = program(FUNCTION)
    made.run(lambda m: m.call(1, 2), kind="stop", capture=True)
    assert [hit.hits for hit in made.seen] == [1, 2]
    assert [row["hits"] for row in recorded(log)] == [1, 2]


def test_two_on_one_line_record_their_own(program, log):
    made = program(FUNCTION)
    if made.tier != "import":
        made.load()
    for text in ("x", "-x"):
        made.add("x == 2", kind="snapshot", capture={**PATIENT, "expressions": [text]})
    made.load().call(1, 2)
    assert [row["expressions"][0]["value"] for row in recorded(log)] == ["2", "-2"]


def test_no_more_than_asked_for(program, log, capfd):
    made = program(FUNCTION)
    made.run(lambda m: m.call(*range(9)), kind=None, capture={**PATIENT, "max_count": 3})
    assert [row["hits"] for row in recorded(log)] == [1, 2, 3]
    (point,) = made.points
    assert (point.hits, point.snapshots) == (9, 3)
    assert capfd.readouterr().err.count("has recorded 3 snapshots, and records no more") == 1


def test_threads_share_the_limit(program, log):
    made = program(FUNCTION)

    def together(module):
        threads = [threading.Thread(target=module.call, args=range(20)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    made.run(together, kind=None, capture={**PATIENT, "max_count": 50, "stack_depth": 1})
    rows = recorded(log)
    assert len(rows) == 50
    assert len({row["hits"] for row in rows}) == 50
    assert [(point.hits, point.snapshots) for point in made.points] == [(160, 50)]


def test_what_an_expression_takes_is_charged(program, log):
    made = program(FUNCTION, cpu_budget=0.0001)
    slow = {**PATIENT, "expressions": ["sum(range(3_000_000))"], "stack_depth": 1}
    made.run(lambda m: m.call(*range(20)), kind=None, capture=slow)
    (point,) = made.points
    assert not point.verified
    assert "cpu_budget" in point.reason
    assert point.snapshots < 20
    assert point.nanoseconds > 0


def test_an_expression_ends_within_its_budget(program, log):
    made = program(FUNCTION, condition_budget_s=0.05)
    endless = {**PATIENT, "expressions": ["[0 for _ in iter(int, 1)]", "x"]}
    assert made.run(lambda m: m.call(1), kind=None, capture=endless) == 1
    (row,) = recorded(log)
    assert "condition_budget_s" in row["expressions"][0]["error"]
    assert row["expressions"][1] == {"expression": "x", "value": "1"}


def test_what_leaves_the_program_leaves_it(program, log):
    made = program(FUNCTION)
    with pytest.raises(SystemExit):
        made.run(lambda m: m.call(1), kind=None, capture={"expressions": ["exit()"]})
    assert recorded(log) == []


OWN_REPR = """\
class Endless:
    def __repr__(self):
        while True:
            pass

class Leaving:
    def __repr__(self):
        raise SystemExit

def f(value):
    return 1  # here
"""


def test_a_repr_of_the_programs_has_the_budget_of_an_expression(program, log):
    made = program(OWN_REPR, condition_budget_s=0.05)
    capture = {**PATIENT, "repr": "full", "stack_depth": 1}
    assert made.run(lambda m: m.f(m.Endless()), kind=None, capture=capture) == 1
    (row,) = recorded(log)
    assert row["stack"][0]["locals"] == {"value": "<Endless object: its __repr__ failed>"}
    module = made.load()
    with pytest.raises(SystemExit):
        module.f(module.Leaving())
    assert len(recorded(log)) == 1


def test_nothing_hits_and_nobody_sees_while_it_is_taken(program, log):
    made = program(FUNCTION.replace("raise AssertionError(name)", "return object"))
    seen = []

    def trace(frame, event, _):
        seen.append(frame.f_code.co_name)

    def traced(module):
        sys.setprofile(trace)
        try:
            module.f(1)
        finally:
            sys.setprofile(None)

    capture = {**PATIENT, "expressions": ["call(5)", "(lambda: x)()"]}
    made.run(traced, kind=None, capture=capture)
    assert [row["expressions"][0]["value"] for row in recorded(log)] == ["1"]
    assert "call" not in seen
    assert seen.count("<lambda>") == 0
    assert [point.hits for point in made.points] == [1]


def test_the_locals_of_the_program_are_as_without(program, log):
    made = program("def f(x):\n    mine = locals()\n    y = x\n    return mine  # here\n")
    assert made.run(lambda m: m.f(1), kind=None, capture=True) == {"x": 1}


def test_a_module_body(tmp_path, monkeypatch, log):
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(Program.config(tmp_path, "import"))
    made = Program(tmp_path, "a = 1\nb = [a]  # here\n", "import")
    try:
        made.run(lambda m: None, kind="snapshot", capture={**PATIENT, "expressions": ["a + 1"]})
    finally:
        dapper.stop()
        sys.modules.pop(made.name, None)
    (row,) = recorded(log)
    assert row["expressions"] == [{"expression": "a + 1", "value": "2"}]
    assert row["stack"][0]["locals"] == {"a": "1"}


@pytest.fixture
def _session(tmp_path):
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    yield
    dapper.stop()


@pytest.mark.usefixtures("_session")
@pytest.mark.parametrize(
    ("capture", "options", "message"),
    [
        ({"depth": 1}, {}, "capture: depth: not an option of a capture: use stack_depth, frames"),
        ({"stack_depth": "x"}, {}, "capture: stack_depth: "),
        ({"stack_depth": -1}, {}, "capture: stack_depth: "),
        ({"locals_depth": 21}, {}, "capture: locals_depth 21 is more than 20"),
        ({"max_count": 0}, {}, "capture: a max_count of 0"),
        ({"time_budget_s": -1}, {}, "capture: time_budget_s -1 is not a number of seconds"),
        ({"repr": "odd"}, {}, 'capture: repr: repr "odd" is not one of "safe" and "full"'),
        ({"expressions": ["x >"]}, {}, 'capture expression "x >" is no expression'),
        ({"expressions": ["f(x)"]}, {"purity": "require"}, 'capture expression "f(x)" may have'),
        ({"repr": "full"}, {"purity": "require"}, 'capture repr "full" may have side effects'),
    ],
)
def test_wrong_options_are_named(tmp_path, capture, options, message):
    with pytest.raises(ValueError, match="capture") as caught:
        dapper.add_breakpoint(tmp_path / "a.py", 1, capture=capture, **options)
    assert message in str(caught.value)
    assert dapper.breakpoints() == []


@pytest.mark.usefixtures("_session")
def test_options_that_are_none(tmp_path):
    wrong: Any = 3
    with pytest.raises(TypeError, match="capture is True, False or a dict of options"):
        dapper.add_breakpoint(tmp_path / "a.py", 1, capture=wrong)


@pytest.mark.usefixtures("_session")
def test_the_kind_of_a_breakpoint_that_captures(tmp_path):
    def kind(**terms: Any) -> str:
        return dapper.add_breakpoint(tmp_path / "a.py", 1, **terms).kind

    assert kind(capture=True) == "snapshot"
    assert kind(capture={}) == "snapshot"
    assert kind(kind="snapshot") == "snapshot"
    assert kind(capture=True, kind="stop") == "stop"
    assert kind(capture=True, on_hit=print) == "stop"
    assert kind(capture=True, log_message="x") == "log"
    assert kind(capture=True, kind="count") == "count"
    assert kind(capture=False, on_hit=print) == "stop"


@pytest.mark.usefixtures("_session")
def test_the_options_can_be_read_back(tmp_path):
    asked = {"stack_depth": 3, "expressions": ["x"], "redact": ["iban"], "repr": "full"}
    point = dapper.add_breakpoint(tmp_path / "a.py", 1, capture=asked)  # type: ignore[arg-type]
    assert point.capture == {
        **asked,
        "frames_with_locals": 3,
        "locals_depth": 2,
        "max_items": 20,
        "max_string": 200,
        "max_total_bytes": 16384,
        "max_count": 100,
        "time_budget_s": 0.005,
    }
    assert point.snapshots == 0
    plain = dapper.add_breakpoint(tmp_path / "a.py", 1, kind="count")
    assert (plain.capture, plain.snapshots) == (None, None)
