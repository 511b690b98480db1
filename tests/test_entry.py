"""A function that runs other code than it holds cannot tell: nor its callers, nor other tools.

`fixtures/entry/cases.py` holds the cases: what each sees as it is has to be what it sees with a
probe on every line, bound to its functions (promotion on) or swapped in at every entry (off).
"""

from __future__ import annotations

import cProfile
import gc
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from tests.launch import ROOT, python

import dapper
from dapper import _engine

CASES = ROOT / "fixtures" / "entry" / "cases.py"
NAMES = re.findall(r"^def (case_\w+)", CASES.read_text(), re.MULTILINE)
WAYS = ("bound", "entry")


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
        _engine.bind(str(file))
        assert _engine.entry_hook_installed() == (way == "entry")

    dapper.start()
    yield put
    dapper.stop()
    _engine.set_promotion(True)
    assert not _engine.entry_hook_installed()
    assert not _engine.eval_frame_hooked()


def functions_of(module: ModuleType) -> list[FunctionType]:
    """Every function object whose code is of the module's file."""
    found = [o for o in gc.get_objects() if isinstance(o, FunctionType)]
    return [f for f in found if f.__code__.co_filename == module.__file__]


def outcome(case: Callable[[], object]) -> object:
    """What a case returns; an exception would be a fault of the case."""
    return case()


@pytest.fixture(scope="module")
def plain() -> dict[str, object]:
    """What every case sees when nothing is armed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        module = fresh(monkeypatch)
        return {name: outcome(getattr(module, name)) for name in NAMES}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_case(name, way, arm, plain, monkeypatch):
    module = fresh(monkeypatch)
    case = getattr(module, name)
    held = [(function, function.__code__) for function in functions_of(module)]
    _engine.reset_counters()
    arm(way)
    for function, code in held:
        # Calls of a class enter `__init__` behind the hook's back on 3.13: there it is bound.
        kept = way == "entry" and not (
            sys.version_info[:2] == (3, 13) and function.__name__ == "__init__"
        )
        if kept:
            assert function.__code__ is code, function
    seen = outcome(case)
    counters = _engine.counters()
    assert seen == plain[name]
    assert outcome(case) == plain[name], "the second time"
    assert (counters["frames_swapped"] > 0) == (way == "entry"), counters
    if way == "bound":
        assert counters["functions_bound"] > 0, counters
    _engine.set_every_line([])
    _engine.restore()
    assert outcome(case) == plain[name], "afterwards"
    for function, code in held:
        assert function.__code__ is code, function


def numbers_of(profile: cProfile.Profile) -> dict[tuple[str, int, str], tuple[int, int]]:
    profile.create_stats()
    stats: dict[tuple[str, int, str], Any] = profile.stats  # type: ignore[attr-defined]
    return {key: value[:2] for key, value in stats.items() if key[0] == str(CASES)}


@pytest.mark.parametrize("way", WAYS)
def test_the_profiler_counts_the_same(way, arm, monkeypatch):
    module = fresh(monkeypatch)

    def profiled() -> dict[tuple[str, int, str], tuple[int, int]]:
        profile = cProfile.Profile()
        for name in NAMES:
            if "profile" not in name and "trace" not in name and "monitoring" not in name:
                profile.runcall(getattr(module, name))
        return numbers_of(profile)

    profiled()
    before = profiled()
    arm(way)
    assert profiled() == before


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
    _engine.bind(cases)
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
