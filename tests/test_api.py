"""The Python API: breakpoints in loaded and unloaded code, and what stop() leaves behind."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.launch import events, write

import dapper

if TYPE_CHECKING:
    from _typeshed import TraceFunction

MODULE = """\
import functools

def plain(x):
    y = x + 1
    return y

def factory():
    z = 1
    def inner():
        return z
    return inner

class Thing:
    size = 3

    def method(self):
        return self.size

    @property
    def doubled(self):
        return self.size * 2

    @staticmethod
    def static(x):
        return x

@functools.lru_cache
def cached(x):
    return x

def numbers():
    yield 1
    yield 2

double = lambda x: x * 2

def commented():
    # words
    return 1
"""


@pytest.fixture(autouse=True)
def session(tmp_path):
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    yield
    dapper.stop()


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"probed_{tmp_path.name}"
    write(tmp_path, **{name.replace("__", "_"): MODULE})
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name.replace("__", "_"))
    sys.modules.pop(name, None)


@pytest.fixture
def unloaded(tmp_path, monkeypatch):
    write(tmp_path, unloaded=MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path / "unloaded.py"
    sys.modules.pop("unloaded", None)


def test_a_loaded_function_is_bound(module):
    seen: list[dapper.Hit] = []
    point = dapper.add_breakpoint(module.__file__, 4, on_hit=seen.append)
    assert (point.verified, point.tier, point.line, point.reason) == (True, "bound", 4, None)
    assert module.plain(5) == 6
    (hit,) = seen
    assert (hit.line, hit.function, hit.hits, hit.breakpoint) == (4, "plain", 1, point)
    assert hit.frame.f_code.co_name == "plain"
    assert hit.frame.f_locals["x"] == 5
    assert point.hits == 1


def test_the_callback_stands_on_the_frame_of_the_program(module):
    seen: list[bool] = []
    dapper.add_breakpoint(
        module.__file__, 4, on_hit=lambda hit: seen.append(sys._getframe(1) is hit.frame)
    )
    module.plain(1)
    assert seen == [True]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        (10, lambda m: m.factory()()),
        (17, lambda m: m.Thing().method()),
        (21, lambda m: m.Thing().doubled),
        (25, lambda m: m.Thing.static(1)),
        (29, lambda m: m.cached(1)),
        (33, lambda m: list(m.numbers())),
        (35, lambda m: m.double(1)),
    ],
)
def test_every_holder_of_code_is_bound(module, line, call):
    point = dapper.add_breakpoint(module.__file__, line, kind="count")
    assert point.tier == "bound", point
    call(module)
    assert point.hits == 1


def test_closures_made_before_are_bound_too(module):
    before = module.factory()
    point = dapper.add_breakpoint(module.__file__, 10, kind="count")
    assert (before(), module.factory()()) == (1, 1)
    assert point.hits == 2


def test_removal_gives_the_original_code_back(module):
    inner = module.factory()
    originals = [module.plain.__code__, module.factory.__code__, inner.__code__]
    first = dapper.add_breakpoint(module.__file__, 4, kind="count")
    second = dapper.add_breakpoint(module.__file__, 10, kind="count")
    assert inner.__code__ is not originals[2]
    dapper.remove_breakpoint(second)
    assert inner.__code__ is originals[2]
    assert module.plain.__code__ is not originals[0]
    dapper.remove_breakpoint(first)
    assert [module.plain.__code__, module.factory.__code__, inner.__code__] == originals
    assert module.plain.__code__ is originals[0]
    assert (first.verified, first.reason) == (False, "removed")
    with pytest.raises(ValueError, match="was removed before"):
        dapper.remove_breakpoint(first)


def test_code_that_has_run_cannot_be_reached(module):
    point = dapper.add_breakpoint(module.__file__, 14, kind="count")
    assert not point.verified
    assert point.reason == "the code at line 14 has run, and no function that is loaded holds it"


def test_a_source_that_changed_is_not_guessed_at(module):
    source = Path(module.__file__)
    source.write_text(source.read_text() + "\n# later\n")
    assert dapper.add_breakpoint(source, 4, kind="count").verified
    source.write_text(source.read_text().replace("x + 1", "x + 2"))
    point = dapper.add_breakpoint(module.__file__, 5, kind="count")
    assert (point.verified, point.reason) == (False, "its file changed after it was loaded")
    assert module.plain(1) == 2


def test_a_file_that_is_not_loaded_is_met_at_import(unloaded):
    seen: list[dapper.Hit] = []
    point = dapper.add_breakpoint(unloaded, 4, on_hit=seen.append)
    assert (point.verified, point.reason) == (False, "no module was loaded from this file")
    module = importlib.import_module("unloaded")
    assert (point.verified, point.tier) == (True, "import")
    module.plain(1)
    assert point.hits == len(seen) == 1


def test_removal_reaches_code_that_was_imported_with_probes(unloaded):
    point = dapper.add_breakpoint(unloaded, 4, kind="count")
    module = importlib.import_module("unloaded")
    constants = len(module.plain.__code__.co_consts)
    dapper.remove_breakpoint(point)
    assert len(module.plain.__code__.co_consts) == constants - 1
    assert module.plain(1) == 2


def test_a_second_breakpoint_in_code_that_was_imported_with_probes(unloaded):
    first = dapper.add_breakpoint(unloaded, 4, kind="count")
    module = importlib.import_module("unloaded")
    second = dapper.add_breakpoint(unloaded, 5, kind="count")
    module.plain(1)
    assert (first.hits, second.hits) == (1, 1)
    assert second.tier == "bound"


def test_a_missing_file_says_so(tmp_path):
    point = dapper.add_breakpoint(tmp_path / "gone.py", 1)
    assert not point.verified
    assert point.reason == "no module was loaded from this file"


def test_an_error_in_a_callback_is_told_once(module, capfd):
    dapper.add_breakpoint(module.__file__, 4, on_hit=lambda _: 1 / 0)
    assert (module.plain(1), module.plain(2)) == (2, 3)
    assert capfd.readouterr().err.count("ZeroDivisionError") == 1


def test_a_callback_may_end_the_program(module):
    def leave(_: dapper.Hit) -> None:
        raise SystemExit(3)

    dapper.add_breakpoint(module.__file__, 4, on_hit=leave)
    with pytest.raises(SystemExit):
        module.plain(1)


def test_nothing_hits_inside_a_callback(module):
    point = dapper.add_breakpoint(module.__file__, 4, on_hit=lambda _: module.plain(7))
    other = dapper.add_breakpoint(module.__file__, 5, kind="count")
    module.plain(1)
    assert (point.hits, other.hits) == (1, 1)


def test_a_log_message_goes_to_standard_error(module, capfd):
    dapper.add_breakpoint(module.__file__, 4, log_message="here {x}")
    module.plain(1)
    dapper.stop()
    assert capfd.readouterr().err == "here 1\n"


def test_a_tracer_does_not_see_callbacks_and_survives_them(module):
    seen: list[str] = []

    def trace(frame: types.FrameType, event: str, arg: object) -> TraceFunction:
        seen.append(frame.f_code.co_name)
        return trace

    dapper.add_breakpoint(module.__file__, 4, on_hit=lambda _: str(1))
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        module.plain(1)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert set(seen) == {"plain"}
    assert len(seen) == 4


def test_a_line_that_snaps(module):
    point = dapper.add_breakpoint(module.__file__, 38, kind="count")
    assert (point.requested_line, point.line) == (38, 39)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"line": 0}, ValueError, "lines count from 1"),
        ({"line": 1, "kind": "log"}, ValueError, "needs a log_message"),
        ({"line": 1, "kind": "stop", "log_message": "x"}, ValueError, 'for kind "log"'),
        ({"line": 1, "kind": "count", "on_hit": print}, ValueError, 'for kind "stop"'),
        ({"line": 1, "kind": "halt"}, ValueError, 'kind "halt" is not one of'),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        dapper.add_breakpoint("x.py", **arguments)


def test_a_session_is_started_once():
    with pytest.raises(RuntimeError, match="call stop"):
        dapper.start()
    dapper.stop()
    with pytest.raises(RuntimeError, match="call start"):
        dapper.add_breakpoint("x.py", 1)
    dapper.start()


def test_hits_are_recorded(module, tmp_path):
    dapper.stop()
    dapper.start(dapper.Config(events=tmp_path / "e.jsonl"))
    dapper.add_breakpoint(module.__file__, 4, kind="count")
    module.plain(1)
    dapper.stop()
    (row,) = events(tmp_path / "e.jsonl")
    assert (row["line"], row["tier"], row["kind"]) == (4, "bound", "count")


def test_every_line_of_files_that_match(tmp_path, unloaded):
    dapper.stop()
    record = tmp_path / "e.jsonl"
    dapper.start(dapper.Config(events=record, every_line=[f"{tmp_path}/unl*.py"]))
    importlib.import_module("unloaded").plain(1)
    dapper.stop()
    assert [row["line"] for row in events(record)][-2:] == [4, 5]


def test_breakpoints_are_listed_and_cleared(module):
    points = [dapper.add_breakpoint(module.__file__, line, kind="count") for line in (4, 5, 10)]
    assert dapper.breakpoints() == points == dapper.status().breakpoints
    dapper.clear_breakpoints()
    assert dapper.breakpoints() == []
    assert dapper.status().hooks == []


def test_several_lines_are_armed_at_once(module):
    points = dapper.add_breakpoints(module.__file__, [10, 4, 5], condition="x", kind="count")
    assert [point.line for point in points] == [10, 4, 5]
    module.plain(1)
    module.plain(0)
    assert [point.hits for point in points[1:]] == [1, 1]
    with pytest.raises(ValueError, match="x =="):
        dapper.add_breakpoints(module.__file__, [4, 5], condition="x ==")
    with pytest.raises(ValueError, match="line 0 does not exist"):
        dapper.add_breakpoints(module.__file__, [4, 0])
    assert dapper.breakpoints() == points


def test_references_are_neither_lost_nor_leaked(module):
    code = module.plain.__code__
    before = sys.getrefcount(code), sys.getrefcount(None)
    for _ in range(200):
        point = dapper.add_breakpoint(module.__file__, 4, kind="count")
        module.plain(1)
        dapper.remove_breakpoint(point)
    assert sys.getrefcount(code) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 50
