"""Hit rules, figures and the allowance of breakpoints."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from tests.conditions import TIERS, Program

import dapper
from dapper import _engine

SOURCE = """\
def f(x):
    return x  # here

def loop(n):
    for i in range(n):
        f(i)
"""


@pytest.fixture(params=TIERS)
def tier(request):
    return request.param


@pytest.fixture
def program(tmp_path, monkeypatch, tier):
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(**options):
        dapper.start(Program.config(tmp_path, tier, **options))
        made.append(Program(tmp_path, SOURCE, tier))
        return made[0]

    yield make
    dapper.stop()
    for one in made:
        sys.modules.pop(one.name, None)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("3", [3]),
        ("== 3", [3]),
        ("!= 3", [1, 2, 4, 5, 6]),
        ("> 4", [5, 6]),
        (">= 4", [4, 5, 6]),
        ("< 3", [1, 2]),
        ("<= 3", [1, 2, 3]),
        ("% 2", [2, 4, 6]),
    ],
)
def test_a_rule_lets_hits_through(program, rule, expected):
    made = program()
    made.run(lambda m: m.loop(6), hit_condition=rule)
    assert [hit.hits for hit in made.seen] == expected
    (point,) = made.points
    assert (point.hits, point.fired) == (6, len(expected))


def test_only_hits_whose_condition_held_count(program):
    made = program()
    made.run(lambda m: m.loop(20), "x % 3 == 0", hit_condition="% 2")
    assert [hit.hits for hit in made.seen] == [2, 4, 6]
    (point,) = made.points
    assert (point.hits, point.evaluations, point.true_share) == (7, 20, 7 / 20)


def test_a_rule_is_exact_under_threads(program):
    made = program()

    def call(module):
        threads = [threading.Thread(target=module.loop, args=(2000,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    made.run(call, "x >= 0", hit_condition="% 100", kind="count")
    (point,) = made.points
    assert (point.hits, point.fired, point.evaluations) == (16_000, 160, 16_000)


def test_a_message_is_made_only_when_the_rule_lets_it(program, capfd):
    made = program()
    made.run(lambda m: m.loop(9), "x > 2", hit_condition=">= 5", log_message="x is {x}")
    assert capfd.readouterr().err == "x is 7\nx is 8\n"


@pytest.mark.parametrize(
    "rule", ["", "often", "% 0", "== ", "=> 3", "-1", "> 99999999999999999999"]
)
def test_a_bad_rule_is_refused(tmp_path, rule):
    dapper.start(Program.config(tmp_path, "bound"))
    try:
        with pytest.raises(ValueError, match="hit rule"):
            dapper.add_breakpoint(__file__, 1, hit_condition=rule, kind="count")
        assert dapper.breakpoints() == []
    finally:
        dapper.stop()


def test_time_is_measured(program):
    made = program()
    made.run(lambda m: m.loop(200), "sum(range(1000)) > x", kind="count")
    assert made.points[0].nanoseconds > 0


def test_without_an_expression_no_time_is_measured(program):
    made = program()
    made.run(lambda m: m.loop(5), kind="count")
    (point,) = made.points
    assert (point.nanoseconds, point.evaluations, point.true_share) == (0, 0, None)


def test_an_expensive_breakpoint_is_disarmed(program, capfd):
    made = program(cpu_budget=0.001)
    made.run(lambda m: m.loop(300), "sum(range(200_000)) < 0", kind="count")
    (point,) = made.points
    assert 0 < point.evaluations < 300
    assert not point.verified
    reason = "disarmed: it took more than 0.1 % of a processor (cpu_budget)"
    assert point.reason == reason
    err = capfd.readouterr().err
    assert err.count(f"dapper: breakpoint {made.file}:{made.line()} was {reason}") == 1


def test_the_costliest_is_disarmed_when_all_are_too_expensive(program):
    made = program(cpu_budget_total=0.002)
    module = made.load() if made.tier != "import" else None
    made.add("x < 0", kind="count")
    made.add("sum(range(200_000)) < 0", kind="count")
    module = module or made.load()
    module.loop(300)
    cheap, costly = made.points
    assert cheap.evaluations == 300
    assert costly.evaluations < 300
    assert costly.reason is not None
    assert "all breakpoints" in costly.reason


def test_waiting_costs_nothing(program):
    made = program(cpu_budget=0.001, condition_budget_s=10)
    begin = time.process_time()
    made.run(lambda m: m.loop(10), "__import__('time').sleep(0.002) or False", kind="count")
    assert made.points[0].evaluations == 10, time.process_time() - begin


@pytest.mark.parametrize(("profile", "limited"), [("production", True), ("development", False)])
def test_production_has_limits_and_development_has_none(program, profile, limited):
    made = program(profile=profile, condition_budget_s=10)
    made.run(lambda m: m.loop(400), "sum(range(200_000)) < 0", kind="count")
    assert (made.points[0].evaluations < 400) is limited


@pytest.mark.parametrize(
    "options",
    [{"profile": "test"}, {"purity": "pure"}, {"condition_budget_s": 0}, {"cpu_budget": -1}],
)
def test_a_bad_option_is_refused(options):
    try:
        with pytest.raises(ValueError, match=r"is not one of|has to be"):
            dapper.start(dapper.Config(**options))
        assert not dapper.status().active
    finally:
        dapper.stop()


def test_purity_of_one_breakpoint(tmp_path):
    dapper.start(Program.config(tmp_path, "bound"))
    try:
        with pytest.raises(ValueError, match="side effects"):
            dapper.add_breakpoint(__file__, 1, condition="print(1)", kind="count", purity="require")
        with pytest.raises(ValueError, match="purity"):
            dapper.add_breakpoint(__file__, 1, kind="count", purity="some")  # type: ignore[arg-type]
        dapper.add_breakpoint(__file__, 1, condition="print(1)", kind="count")
        dapper.add_breakpoint(__file__, 1, condition="len(x) > 1", kind="count", purity="require")
    finally:
        dapper.stop()


def test_purity_of_a_session(tmp_path):
    dapper.start(Program.config(tmp_path, "bound", purity="require"))
    try:
        with pytest.raises(ValueError, match="side effects"):
            dapper.add_breakpoint(__file__, 1, log_message="{print(1)}")
        dapper.add_breakpoint(__file__, 1, log_message="{print(1)}", purity="allow")
    finally:
        dapper.stop()
    assert _engine.purity() == "allow"
