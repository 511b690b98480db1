"""Nothing of a condition that is evaluated out of line is seen by the program or by its tools."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
import weakref
from typing import Any

import pytest
from tests.conditions import TIERS, Program

import dapper


@pytest.fixture(params=TIERS)
def tier(request):
    return request.param


@pytest.fixture
def program(tmp_path, monkeypatch, tier):
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


FUNCTION = """\
size = 10
shadowed = "global"

def f(x, *args, y=2, **kwargs):
    z = x + y
    items = [1, 2, 3]
    late = "unbound"
    del late
    if x > 1000:
        shadowed = "local"
    return z  # here
"""


LEAKS = """\
import sys

def f(x):
    seen = locals()
    try:
        1 / 0
    except ZeroDivisionError:
        before = sys.exc_info()[1]
        marked = x  # here
        return before is sys.exc_info()[1], before.__context__, sorted(seen)

def raised(text):
    raise ValueError(text)

def caught(text):
    try:
        raised(text)
    except ValueError:
        return False
"""


@pytest.mark.parametrize("condition", ["caught(x)", "raised(x)", "[x for _ in 'ab'] and caught(x)"])
def test_exceptions_and_locals_are_as_without(program, condition):
    made = program(LEAKS)
    expected = made.load().f("x")
    sys.modules.pop(made.name)
    assert made.run(lambda m: m.f("x"), condition, kind="count") == expected


def test_traces_profiles_and_monitoring_see_nothing(program):
    made = program(LEAKS)
    seen = []
    if made.tier == "import":
        made.add("caught(x)", kind="count")
        module = made.load()
    else:
        module = made.load()
        made.add("caught(x)", kind="count")

    def trace(frame, event, arg):
        seen.append(frame.f_code.co_name)
        return trace

    def profile(frame, event, arg):
        seen.append(frame.f_code.co_name)

    before, profiled = sys.gettrace(), sys.getprofile()
    sys.setprofile(profile)
    if made.tier != "tracing":
        sys.settrace(trace)
    module.f("x")
    if made.tier != "tracing":
        sys.settrace(before)
    sys.setprofile(profiled)
    assert made.points[0].evaluations == 1
    assert "f" in seen
    assert not {"caught", "raised", "<lambda>"} & set(seen)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="there is no monitoring to see it")
def test_monitoring_tools_see_nothing(program):
    made = program(LEAKS)
    if made.tier == "import":
        made.add("caught(x)", kind="count")
        module = made.load()
    else:
        module = made.load()
        made.add("caught(x)", kind="count")
    seen = []
    monitoring: Any = vars(sys)["monitoring"]
    monitoring.use_tool_id(monitoring.COVERAGE_ID, "test")
    starts = monitoring.events.PY_START
    monitoring.register_callback(
        monitoring.COVERAGE_ID, starts, lambda code, _: seen.append(code.co_name)
    )
    monitoring.set_events(monitoring.COVERAGE_ID, starts)
    module.f("x")
    monitoring.set_events(monitoring.COVERAGE_ID, 0)
    monitoring.register_callback(monitoring.COVERAGE_ID, starts, None)
    monitoring.free_tool_id(monitoring.COVERAGE_ID)
    assert "f" in seen
    assert not {"caught", "raised", "<lambda>"} & set(seen)


def test_nothing_hits_inside_a_condition(program):
    made = program(LEAKS + "\ndef g():\n    return 1  # inside\n")
    module = made.load() if made.tier != "import" else None
    made.add(mark="inside", kind="count")
    made.add("g()", kind="count")
    module = module or made.load()
    module.f("x")
    module.g()
    inside, outer = made.points
    assert (inside.hits, outer.hits) == (1, 1)


def test_warnings_are_nobodys(program, recwarn):
    warnings.simplefilter("error")
    made = program(FUNCTION)
    filters = list(warnings.filters)
    made.run(lambda m: m.f(5), "x is 5 or '\\d'")
    assert [hit.error for hit in made.seen] == [None]
    assert warnings.filters == filters
    assert not recwarn.list


def test_nothing_is_kept_alive(program):
    made = program("class Thing:\n    pass\n\ndef f(x):\n    return 1  # here\n")

    def call(module):
        thing = module.Thing()
        gone = weakref.ref(thing)
        module.f(thing)
        del thing
        gc.collect()
        return gone()

    assert made.run(call, "x is not None and [x for _ in '1']", kind="count") is None
    assert made.points[0].hits == 1


def test_deep_recursion_is_as_without(program):
    made = program(
        "import sys\n\ndef depth(n=0):\n    try:\n        return depth(n + 1)  # here\n"
        "    except RecursionError:\n        return n\n"
    )
    expected = made.load().depth()
    sys.modules.pop(made.name)
    reached = made.run(lambda m: m.depth(), "n < 0", kind="count")
    reason = made.points[0].reason or ""
    # Up to 3.12 each call below the eval-frame hook takes from the native stack too.
    assert abs(reached - expected) < 5 or "nested calls" in reason


def test_threads_evaluate_at_the_same_time(program):
    made = program(FUNCTION)

    def call(module):
        def work():
            for x in range(500):
                module.f(x)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    made.run(call, "x % 2 and all(i for i in items)", kind="count")
    assert (made.points[0].hits, made.points[0].evaluations) == (1000, 2000)
