"""Nothing of a condition that is compiled into the line is seen by the program or by its tools.

What the tools do see of one that calls or raises is listed under "Limits" in the README; the last
tests of this file say what it is.
"""

from __future__ import annotations

import cProfile
import gc
import importlib
import io
import math
import pstats
import sys
import threading
import traceback
import types
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from tests.launch import ROOT, python, write

import dapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIERS = ("import", "bound", "entry")

SOURCE = """\
import sys
import traceback
import warnings

size = 3
total = i = 0

def loop(n):
    total = 0
    for i in range(n):
        if i % 2:
            total += i
        else:
            total -= 1
    while total > 0:
        total -= size
    return total

def generate(n):
    for i in range(n):
        got = yield i
        if got:
            return got

def caught(values):
    seen = []
    for value in values:
        try:
            seen.append(10 // value)
        except ZeroDivisionError as error:
            seen.append((sys.exc_info()[1] is error, error.__context__))
        finally:
            seen.append(value)
    return seen

def chained():
    try:
        try:
            {}["missing"]
        except KeyError:
            [][1]
    except IndexError as error:
        context = error.__context__
        return type(context).__name__, context.__context__, error.__cause__

def comprehended(items):
    name = "a"
    pairs = [(item, name) for item in items if item]
    return pairs, {k: v for k, v in pairs}, sorted(locals())

class Thing:
    kind = "thing"
    names = sorted(k for k in locals() if not k.startswith("__"))

    def method(self, x):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=1)
        return [(str(w.message), w.lineno) for w in caught], x, sorted(sys._getframe().f_locals)

def failing(values):
    total = (values[0] + values[1]) * (values[2]
        / values[3])
    return total

def told():
    try:
        failing([1, 2, 3, 0])
    except ZeroDivisionError:
        return traceback.format_exc()

def depth(n=0):
    try:
        return depth(n + 1)
    except RecursionError:
        return n

def everything():
    generated = generate(3)
    first = [next(generated), next(generated)]
    generated.close()
    return [
        loop(5),
        first,
        caught([1, 0, 2]),
        chained(),
        comprehended([0, 1, 2]),
        Thing().method(1),
        Thing.names,
        told(),
    ]
"""

# False and true, of names that are local in some of the functions.
PURE = (
    "size == 4",
    "total < -99 and not (size or total) or i == 77",
    "size is None or 'x' in 'abc' or size > 100",
    "size == 3",
)
RAISING = ("no_such_name == 1", "size.nothing", "size < 'a'")


class Program:
    """A module of its own in which every line that can has the same condition."""

    def __init__(self, folder: Path, tier: str) -> None:
        self.name = f"unseen_{folder.name}"
        self.file = folder / f"{self.name}.py"
        self.folder = folder
        self.tier = tier
        self.points: list[dapper.Breakpoint] = []
        write(folder, **{self.name: SOURCE})
        importlib.invalidate_caches()

    def plain(self) -> types.ModuleType:
        """Import it without dapper."""
        sys.modules.pop(self.name, None)
        return importlib.import_module(self.name)

    def lines(self) -> list[int]:
        """Return the lines of its functions."""
        lines: set[int] = set()
        found = [compile(SOURCE, str(self.file), "exec")]
        while found:
            code = found.pop()
            found += [one for one in code.co_consts if isinstance(one, types.CodeType)]
            if code.co_flags & 1:
                lines |= {line for *_, line in code.co_lines() if line}
        return sorted(lines)

    def armed(self, *conditions: str, lines: list[int] | None = None) -> types.ModuleType:
        """Import it with these conditions on its lines."""
        sys.modules.pop(self.name, None)
        module = self.plain() if self.tier != "import" else None
        config = dapper.Config(
            cache_dir=self.folder / "store",
            promotion=self.tier != "entry",
            condition_budget_s=math.inf,
        )
        dapper.start(config)
        lines = self.lines() if lines is None else lines
        for condition in conditions:
            self.points += dapper.add_breakpoints(
                self.file, lines, condition=condition, kind="count"
            )
        return module or self.plain()

    def check(self) -> None:
        """Insist that all conditions were in their lines."""
        for point in self.points:
            if point.verified:
                # Some interpreters have less room for calls below the eval-frame hook.
                known = "name" in (point.reason or "name") or "nested calls" in str(point.reason)
                assert known, point.reason
        assert {point.tier for point in self.points if point.verified} == {self.tier}


@pytest.fixture(params=TIERS)
def program(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(tmp_path)
    made = Program(tmp_path, request.param)
    yield made
    dapper.stop()
    sys.modules.pop(made.name, None)


def lines_of(*functions: str) -> list[int]:
    """Return the lines of the bodies of some functions."""
    lines = SOURCE.splitlines()
    starts = [lines.index(next(x for x in lines if x.startswith(one))) for one in functions]
    return [n + 1 for start in starts for n in range(start + 1, lines.index("", start))]


def traced(call: Callable[[], object], file: str, *, exceptions: bool = True) -> list[Any]:
    """Return the trace events of a call."""
    seen: list[Any] = []

    def trace(frame: types.FrameType, event: str, _arg: object) -> Any:
        if frame.f_code.co_filename == file and (exceptions or event != "exception"):
            seen.append((event, frame.f_code.co_qualname, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return seen


@pytest.mark.parametrize("condition", [*PURE, *RAISING, "[i for i in [1]] == 2"])
def test_what_the_program_says_is_as_without(program, condition):
    expected = program.plain().everything()
    assert program.armed(condition).everything() == expected
    assert any(point.hits or point.errors for point in program.points) is (
        condition in ("size == 3", *RAISING)
    )


@pytest.mark.parametrize("condition", PURE)
def test_a_tracer_sees_the_events_of_the_program(program, condition):
    # Where a local is not bound, looking for the global raises inside the line.
    exceptions = "total" not in condition
    expected = traced(program.plain().everything, str(program.file), exceptions=exceptions)
    module = program.armed(condition)
    assert traced(module.everything, str(program.file), exceptions=exceptions) == expected
    program.check()


def test_a_tracer_sees_the_lines_of_the_program_where_conditions_raise(program):
    expected = traced(program.plain().everything, str(program.file), exceptions=False)
    module = program.armed(RAISING[1])
    assert traced(module.everything, str(program.file), exceptions=False) == expected


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="there is no monitoring to see it")
@pytest.mark.parametrize("condition", [*PURE, *RAISING])
def test_a_monitoring_tool_sees_the_lines_of_the_program(program, condition):
    monitoring: Any = vars(sys)["monitoring"]
    tool, events = monitoring.COVERAGE_ID, monitoring.events
    seen: list[Any] = []

    def watched(call: Callable[[], object]) -> list[Any]:
        seen.clear()
        monitoring.use_tool_id(tool, "test")
        wanted = {
            events.LINE: "line",
            events.PY_START: "start",
            events.PY_RETURN: "return",
            events.PY_YIELD: "yield",
            events.PY_RESUME: "resume",
        }
        for event, name in wanted.items():

            def note(code: types.CodeType, at: int, *_: object, name: str = name) -> None:
                if code.co_filename == str(program.file):
                    seen.append((name, code.co_qualname, at if name == "line" else None))

            monitoring.register_callback(tool, event, note)
        monitoring.set_events(tool, sum(wanted))
        call()
        monitoring.set_events(tool, 0)
        for event in wanted:
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)
        return list(seen)

    expected = watched(program.plain().everything)
    module = program.armed(condition)
    assert watched(module.everything) == expected


@pytest.mark.parametrize("condition", ["n == -1", "n < 0 or n is None", "not n >= 0"])
def test_recursion_goes_as_deep_as_without(program, condition):
    expected = program.plain().depth()
    # A module that is still there would be bound, and code that nothing holds be waited for.
    gc.collect()
    module = program.armed(condition, lines=lines_of("def depth"))
    reached = module.depth()
    # Below the eval-frame hook each call takes from the native stack too, up to 3.12.
    if program.tier != "entry" or sys.version_info >= (3, 13):
        assert reached == expected


def test_the_text_of_an_error_of_the_program_has_its_columns(program):
    expected = program.plain().told()
    module = program.armed(PURE[1], *RAISING, lines=lines_of("def failing", "def told"))
    assert module.told() == expected
    assert "^^^" in expected


def test_an_error_that_leaves_the_program_is_as_without(program):
    def text(module: types.ModuleType) -> list[str]:
        with pytest.raises(IndexError) as raised:
            module.failing([])
        trace = raised.value.__traceback__
        assert raised.value.__context__ is None
        assert trace is not None
        return traceback.format_list(traceback.extract_tb(trace.tb_next))

    expected = text(program.plain())
    lines = lines_of("def failing")
    assert text(program.armed(PURE[1], *RAISING, lines=lines)) == expected


def test_no_warning_comes_of_a_condition(program):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        program.plain().everything()
        expected = len(seen)
        program.armed("size is 4", "'\\d' == size").everything()
    assert len(seen) == expected, [str(warning.message) for warning in seen]


def test_threads_are_counted_exactly_in_the_line(program):
    line = SOURCE.splitlines().index("        if i % 2:") + 1
    module = program.armed("i >= 0", lines=[])
    point = dapper.add_breakpoint(
        program.file, line, condition="i % 3 == 0", hit_condition="% 10", kind="count"
    )
    plain = dapper.add_breakpoint(program.file, line, hit_condition="> 1000", kind="count")
    if program.tier == "import":
        module = program.plain()
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for _ in range(20):
            module.loop(300)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    program.points = [point]
    program.check()
    assert point.evaluations is None
    assert (point.hits, point.fired) == (16_000, 1_600)
    assert (plain.hits, plain.fired) == (48_000, 47_000)


COVERED = """\
import sys, coverage
sys.path.insert(0, sys.argv[1])
options = {"branch": True, "data_file": None, "config_file": False}
if sys.argv[2] == "with":
    import dapper, math
    dapper.start(dapper.Config(cache_dir=sys.argv[1] + "/store", condition_budget_s=math.inf))
    points = [
        dapper.add_breakpoint(sys.argv[1] + "/covered.py", int(line), condition=c, kind="count")
        for line in sys.argv[4].split(",")
        for c in ("i == 77 or size is None and not size", "size == 3", "no_such_name")
    ]
measured = coverage.Coverage(include=[sys.argv[1] + "/covered.py"], **options)
measured.set_option("run:core", sys.argv[3])
measured.start()
import covered
covered.loop(5); covered.caught([1, 0]); covered.comprehended([1]); covered.told()
list(covered.generate(2))
measured.stop()
if sys.argv[2] == "with":
    assert all(p.reason is None or "name" in p.reason for p in points if p.verified), points
    assert sum(p.verified for p in points) > 30
data = measured.get_data()
(file,) = data.measured_files()
print(sorted(data.arcs(file)))
measured.report(file=sys.stdout, show_missing=True)
"""


@pytest.mark.parametrize("core", ["pytrace", "ctrace", "sysmon"])
def test_coverage_with_branches_reports_the_same(tmp_path, core):
    if core == "sysmon" and sys.version_info < (3, 14):
        pytest.skip("measures no branches by monitoring")
    write(tmp_path, covered=SOURCE, measure=COVERED)
    lines = ",".join(map(str, Program(tmp_path, "import").lines()))
    said = [
        python("measure.py", tmp_path, how, core, lines, cwd=tmp_path)
        for how in ("without", "with")
    ]
    assert [one.status for one in said] == [0, 0], said
    assert said[0].out == said[1].out


def profiled(call: Callable[[], object]) -> dict[str, int]:
    """Return how often cProfile saw each function called."""
    profile = cProfile.Profile()
    profile.runcall(call)
    stats: Any = pstats.Stats(profile, stream=io.StringIO())
    return {name: calls for (_, _, name), (_, calls, *_) in stats.stats.items()}


@pytest.mark.parametrize("condition", PURE)
def test_a_profile_is_as_without(program, condition):
    def work() -> None:
        module.loop(5)
        module.caught([1, 0, 2])
        module.comprehended([0, 1])
        list(module.generate(3))

    module = program.plain()
    expected = profiled(work)
    module = program.armed(condition)
    assert profiled(work) == expected


def test_a_profiler_sees_what_a_condition_in_the_line_calls(program):
    line = SOURCE.splitlines().index("        if i % 2:") + 1
    module = program.plain()
    expected = profiled(lambda: module.loop(5))
    module = program.armed("abs(i) > 99", lines=[line])
    found = profiled(lambda: module.loop(5))
    assert found.pop("<built-in method builtins.abs>") == 5
    assert found == expected


def test_a_tracer_sees_the_exception_of_a_condition_in_the_line(program):
    line = SOURCE.splitlines().index("        if i % 2:") + 1
    module = program.armed("no_such_name", lines=[line])
    events = traced(lambda: module.loop(1), str(program.file))
    assert [event for event in events if event[0] == "exception"] == [("exception", "loop", line)]


def test_the_limits_are_documented():
    limits = (ROOT / "README.md").read_text().partition("## Limits")[2]
    assert "A condition in the line runs as part of it" in limits
