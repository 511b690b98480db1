"""A function that runs other code than it holds cannot tell: nor its callers, nor other tools.

`fixtures/entry/cases.py` holds the cases: what each sees as it is has to be what it sees with a
probe on every line, bound to its functions (promotion on) or swapped in at every entry (off).
"""

from __future__ import annotations

import cProfile
import gc
import importlib
import importlib.util
import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from tests.launch import ROOT, python

import dapper
from dapper import _engine

CASES = ROOT / "fixtures" / "entry" / "cases.py"
NAMES = re.findall(r"^def (case_\w+)", CASES.read_text(), re.MULTILINE)
WAYS = ("bound", "entry")
# Neither comes with types.
cloudpickle = importlib.import_module("cloudpickle")
greenlet = importlib.import_module("greenlet")


def fresh(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the cases, loaded anew."""
    spec = importlib.util.spec_from_file_location("cases", CASES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cases", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a probe on every line of a file, by one of the ways; all is undone afterwards."""

    def put(way: str, file: Path | str = CASES) -> None:
        _engine.set_promotion(way != "entry")
        _engine.set_every_line([str(file)])
        _engine.bind([str(file)])
        assert _engine.entry_hook_installed() == (way == "entry")

    dapper.start()
    yield put
    dapper.stop()
    _engine.set_promotion(True)
    assert not _engine.entry_hook_installed()
    assert not _engine.eval_frame_hooked()


def functions_of(module: ModuleType) -> list[FunctionType]:
    """Every function object whose code is of the module's file."""
    found = [o for o in gc.get_objects() if type(o) is FunctionType]
    return [f for f in found if f.__code__.co_filename == module.__file__]


def outcomes(module: ModuleType) -> dict[str, object]:
    """What each case returns; an exception would be a fault of the case."""
    return {name: getattr(module, name)() for name in NAMES}


@pytest.fixture(scope="module")
def plain() -> dict[str, object]:
    """What every case sees when nothing is armed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return outcomes(fresh(monkeypatch))


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What every case sees while an eval-frame hook is installed that has nothing to do with it.

    CPython then makes every call through C: the caller keeps its references to the arguments until
    the call returns, and a generator that is delegated to ends by a `StopIteration` that is raised.
    """
    other = tmp_path_factory.mktemp("other") / "other.py"
    other.write_text("def function():\n    return 1\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        module = fresh(monkeypatch)
        monkeypatch.syspath_prepend(other.parent)
        importlib.import_module("other")
        dapper.start()
        _engine.set_promotion(False)
        _engine.set_every_line([str(other)])
        _engine.bind([str(other)])
        assert _engine.entry_hook_installed()
        seen = outcomes(module)
        dapper.stop()
        _engine.set_promotion(True)
        del sys.modules["other"]
        return seen


def test_what_a_hooked_process_shows_is_known(plain, hooked):
    differ = {name for name in NAMES if plain[name] != hooked[name]}
    calls_through_c = {"case_arguments_die_in_time", "case_reference_counts"}
    delegation = {"case_trace_of_lines", "case_monitoring_of_lines"}
    known = delegation if (3, 12) <= sys.version_info < (3, 15) else set()
    assert differ == calls_through_c | known


@pytest.mark.parametrize("way", WAYS)
def test_cases(way, arm, plain, hooked, monkeypatch):
    module = fresh(monkeypatch)
    held = [(function, function.__code__) for function in functions_of(module)]
    _engine.reset_counters()
    arm(way)
    for function, code in held:
        # Calls of a class enter `__init__` behind the hook's back on 3.13: there it is bound.
        unhooked = sys.version_info[:2] == (3, 13) and function.__name__ == "__init__"
        assert (function.__code__ is code) == (way == "entry" and not unhooked), function
    expected = hooked if way == "entry" else plain
    for _ in range(2):
        seen = outcomes(module)
        assert {name: seen[name] for name in NAMES if seen[name] != expected[name]} == {}
    counters = _engine.counters()
    assert (counters["frames_swapped"] > 500) == (way == "entry"), counters
    assert (counters["functions_bound"] > 100) == (way == "bound"), counters
    _engine.set_every_line([])
    _engine.restore()
    seen = outcomes(module)
    assert {name: seen[name] for name in NAMES if seen[name] != plain[name]} == {}
    for function, code in held:
        assert function.__code__ is code, function


def numbers_of(profile: cProfile.Profile) -> Counter[tuple[int, str]]:
    """How often each function of the cases was called."""
    numbers: Counter[tuple[int, str]] = Counter()
    for entry in profile.getstats():
        if isinstance(entry.code, CodeType) and entry.code.co_filename == str(CASES):
            numbers[entry.code.co_firstlineno, entry.code.co_name] += entry.callcount
    return numbers


@pytest.mark.parametrize("way", WAYS)
def test_the_profiler_counts_the_same(way, arm, monkeypatch):
    module = fresh(monkeypatch)

    def profiled() -> Counter[tuple[int, str]]:
        profile = cProfile.Profile()
        for name in NAMES:
            # These profile or trace by themselves, or start threads.
            if not {"profile", "trace", "monitoring", "threads"} & set(name.split("_")):
                profile.runcall(getattr(module, name))
        return numbers_of(profile)

    profiled()
    before = profiled()
    assert len(before) > 100
    arm(way)
    assert profiled() == before


def total(module: ModuleType, case: str) -> int:
    """The events of `sys.setprofile` that a case makes."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    getattr(module, case)()
    sys.setprofile(None)
    return count


@pytest.mark.parametrize("way", WAYS)
def test_profile_functions_see_no_call_of_ours(way, arm, monkeypatch):
    module = fresh(monkeypatch)
    before = total(module, "case_yield_from")
    arm(way)
    total(module, "case_yield_from")
    assert total(module, "case_yield_from") == before


MEASURED = """\
import sys, importlib.util, coverage
way, cases = sys.argv[1:]
def load():
    spec = importlib.util.spec_from_file_location("cases", cases)
    module = sys.modules["cases"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
module = load()
from dapper import _engine
if way != "plain":
    _engine.set_promotion(way == "bound")
    _engine.set_every_line([cases])
    _engine.bind([cases])
measure = coverage.Coverage(data_file=None, include=[cases], config_file=False, messages=False)
measure.start()
for name, case in list(vars(module).items()):
    # These replace the trace function, or run beside it.
    if name.startswith("case_") and not {"profile", "trace", "monitoring"} & set(name.split("_")):
        case()
measure.stop()
print(measure._collector.tracer_name())
print(sorted(measure.get_data().lines(cases)))
print(_engine.counters()["frames_swapped"] > 0, file=sys.stderr)
"""


@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_coverage_measures_the_same(core, tmp_path):
    if core == "sysmon" and not hasattr(sys, "monitoring"):
        pytest.skip("no sys.monitoring before 3.12")
    (tmp_path / "measured.py").write_text(MEASURED)
    runs = {
        way: python("measured.py", way, CASES, cwd=tmp_path, COVERAGE_CORE=core)
        for way in ("plain", *WAYS)
    }
    assert runs["plain"].status == 0, runs["plain"].err
    tracer, lines = runs["plain"].out.splitlines()
    assert tracer == {"ctrace": "CTracer", "sysmon": "SysMonitor"}[core]
    assert len(lines) > 1000
    for way in WAYS:
        assert runs[way].out == runs["plain"].out, way
        assert runs[way].err == f"{way == 'entry'}\n"


RECURSE = """\
import sys
def down(n):
    try:
        return down(n + 1)
    except RecursionError:
        return n
def generate(n):
    yield n
    try:
        yield from generate(n + 1)
    except RecursionError:
        pass
def count():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        return max(generate(0))
    finally:
        sys.setrecursionlimit(before)
class Deep:
    def __init__(self):
        self.n = 0
    def __call__(self):
        self.n += 1
        return self()
def deep():
    made = Deep()
    try:
        made()
    except RecursionError as error:
        return made.n, str(error)
"""
REACH = """\
import sys, recurse
from dapper import _engine
point = None
if sys.argv[1] != "plain":
    _engine.set_promotion(sys.argv[1] == "bound")
    _engine.set_every_line([recurse.__file__])
    point = _engine.add(recurse.__file__, 4, "count")
    _engine.bind([recurse.__file__])
print(recurse.down(0), recurse.count(), recurse.deep())
print(point and point.reason, file=sys.stderr)
"""


def test_recursion_reaches_the_limit(tmp_path):
    (tmp_path / "recurse.py").write_text(RECURSE)
    (tmp_path / "reach.py").write_text(REACH)
    runs = {way: python("reach.py", way, cwd=tmp_path) for way in ("plain", *WAYS)}
    assert [run.status for run in runs.values()] == [0, 0, 0], runs
    assert runs["bound"] == runs["plain"]
    if (3, 12) <= sys.version_info < (3, 12, 3):
        assert "about 750 nested calls" in runs["entry"].err
        assert int(runs["entry"].out.split()[0]) < int(runs["plain"].out.split()[0])
    else:
        assert runs["entry"] == runs["plain"]


def test_functions_are_pickled_by_value(arm, monkeypatch):
    module = fresh(monkeypatch)
    cloudpickle.register_pickle_by_value(module)
    before = pickle.loads(cloudpickle.dumps(module.counter))
    adders = {}
    for way in WAYS:
        arm(way)
        bytes_ = cloudpickle.dumps(module.counter)
        assert module.counter(1)[0](2) == 3
        _engine.set_every_line([])
        _engine.restore()
        copy = adders[way] = pickle.loads(bytes_)
        assert [f(2) for f in (copy(1)[0], before(1)[0])] == [3, 3]
        assert "dapper" not in str(copy.__code__.co_consts)
    assert adders["entry"].__code__ == before.__code__
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def switching(tmp_path, monkeypatch) -> Iterator[ModuleType]:
    (tmp_path / "switching.py").write_text(SWITCHING)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("switching")
    del sys.modules["switching"]


@pytest.mark.parametrize("way", WAYS)
def test_greenlets_switch_in_the_middle(way, arm, switching):
    plainly = switching.talk(greenlet)
    arm(way, switching.__file__)
    assert switching.talk(greenlet) == plainly
    _engine.set_every_line([])
    _engine.restore()
    assert switching.talk(greenlet) == plainly


@pytest.mark.parametrize("way", WAYS)
def test_greenlets_that_are_suspended_are_reached(way, arm, switching):
    plainly = switching.talk(greenlet)
    points = []

    def stop_there() -> None:
        points.append(_engine.add(switching.__file__, 7, "count"))
        _engine.bind([switching.__file__])

    _engine.set_promotion(way == "bound")
    assert switching.talk(greenlet, stop_there) == plainly
    # Line 7 runs three times in one greenlet, twice in the other, and ran once in each before.
    assert [point.hits for point in points] == [3]


SWITCHING = """\
def talk(module, meanwhile=lambda: None):
    log = []

    def worker(name, n):
        total = 0
        for i in range(n):
            total += i
            log.append((name, i, inner(name)))
        return total

    def inner(name):
        try:
            return parent.switch(name)
        finally:
            log.append("finally " + name)

    def generate(name):
        for i in range(3):
            yield inner(name + str(i))

    parent = module.getcurrent()
    one = module.greenlet(worker)
    two = module.greenlet(worker)
    three = module.greenlet(lambda: list(generate("g")))
    got = [one.switch("one", 3), two.switch("two", 2), three.switch()]
    meanwhile()
    while not (one.dead and two.dead and three.dead):
        for each in (one, two, three):
            if not each.dead:
                got.append(each.switch(len(got)))
    return got, log
"""

JITTED = """\
import sys, loop
from dapper import _engine
print(sys._jit.is_enabled(), _engine.eval_frame_refusal())
loop.run()
point = _engine.add(loop.__file__, 4, "count")
_engine.bind([loop.__file__])
print(point.tier, loop.run(), point.hits)
_engine.set_promotion(False)
print(loop.run() == 4950, _engine.entry_hook_installed())
_engine.remove(point)
_engine.restore()
_engine.set_promotion(True)
print(loop.run(), point.hits)
"""
LOOP = """\
def run():
    total = 0
    for i in range(100):
        total += i
    return total
for _ in range(100):
    run()
"""


def test_an_enabled_jit_refuses_the_swap_and_leaves_binding(tmp_path):
    if not getattr(getattr(sys, "_jit", None), "is_available", bool)():
        pytest.skip("this interpreter was built without a JIT")
    (tmp_path / "loop.py").write_text(LOOP)
    (tmp_path / "jitted.py").write_text(JITTED)
    run = python("jitted.py", cwd=tmp_path, PYTHON_JIT="1")
    lines = run.out.splitlines()
    assert run.status == 0, run.err
    assert lines[0] == "True the JIT of this interpreter is on: frames cannot be swapped"
    assert lines[1] == "bound 4950 100"
    assert lines[2] == "True False"
    assert lines[3].split()[0] == "4950"
