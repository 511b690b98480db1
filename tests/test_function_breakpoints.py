"""Breakpoints on functions: by name and by pattern, in modules loaded in any way."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.conditions import TIERS
from tests.launch import write
from tests.places import Armed, programs

import dapper
from dapper import _engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOURCE = '''\
"""A module."""
import asyncio


def deco(function):
    return function


@deco
def plain(x=1):
    """With a docstring,

    of several lines.
    """
    y = x + 1
    return y


def one(): return 1


class Shape:
    """A class."""

    def area(self):
        # A comment.
        return 2

    @property
    def size(self):
        return self.area()

    @staticmethod
    def make(): return Shape()

    def _inner(self):
        def nested():
            return 3
        return nested()


def numbers(n):
    """Yields."""
    yield n
    yield n + 1


async def later(n):
    """Waits."""
    await asyncio.sleep(0)
    return n


def run_later(n):
    return asyncio.run(later(n))


def generic[T](x: T) -> T: return x
'''
if sys.version_info < (3, 12):
    SOURCE = SOURCE[: SOURCE.index("def generic")]


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> Iterator[Callable[..., Armed]]:
    yield from programs(tmp_path, monkeypatch, tier, SOURCE)


def line_of(text: str, source: str = SOURCE) -> int:
    return next(n for n, line in enumerate(source.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("name", "call", "text"),
    [
        ("plain", lambda m: m.plain(), "y = x + 1"),
        ("one", lambda m: m.one(), "def one"),
        ("Shape.area", lambda m: m.Shape().area(), "return 2"),
        ("Shape.size", lambda m: m.Shape().size, "return self.area"),
        ("Shape.make", lambda m: m.Shape.make(), "def make"),
        ("Shape._inner.<locals>.nested", lambda m: m.Shape()._inner(), "return 3"),
        ("numbers", lambda m: list(m.numbers(1)), "yield n"),
        ("later", lambda m: m.run_later(1), "await"),
    ],
)
def test_a_function_starts_behind_its_docstring(
    program: Callable[..., Armed], tier: str, name: str, call: Callable[[Any], object], text: str
) -> None:
    made = program()
    module = made.after(lambda: made.functions(name))
    (point,) = made.points
    call(module)
    assert made.lines_hit() == [(name, line_of(text))]
    assert (point.verified, point.tier) == (True, tier)
    assert (point.line, point.lines) == (line_of(text), [line_of(text)])
    assert (point.file, point.function) == (str(made.file), f"{made.name}:{name}")
    dapper.remove_breakpoint(point)
    call(module)
    assert len(made.seen) == 1
    assert not point.verified


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_type_parameters_are_no_function(program: Callable[..., Armed]) -> None:
    made = program()
    module = made.after(lambda: made.functions("gen*"))
    assert module.generic(3) == 3
    assert made.lines_hit() == [("generic", line_of("def generic"))]


def test_a_pattern_means_every_method(program: Callable[..., Armed], tier: str) -> None:
    made = program()
    module = made.after(lambda: made.functions("Shape.*"))
    (point,) = made.points
    texts = ["return 2", "return self.area", "def make", "def nested"]
    assert point.lines == [line_of(text) for text in texts]
    assert (point.tier, point.line) == (tier, line_of("return 2"))
    shape = module.Shape.make()
    assert (shape.size, shape._inner(), module.one()) == (2, 3, 1)
    names = ["Shape.make", "Shape.size", "Shape.area", "Shape._inner"]
    assert [hit.function for hit in made.seen] == names
    assert point.hits == 4
    assert {hit.breakpoint for hit in made.seen} == {point}


def test_terms_hold_at_every_function(program: Callable[..., Armed]) -> None:
    made = program()
    terms = {"condition": "len(__name__) and 'self' in locals()", "hit_condition": "> 1"}
    module = made.after(lambda: made.functions("*", **terms))
    shape = module.Shape.make()
    assert (module.plain(), shape.size, shape._inner()) == (2, 2, 3)
    assert [hit.function for hit in made.seen] == ["Shape.area", "Shape._inner"]
    assert made.points[0].hits == 3


def test_a_method_that_a_condition_is_spliced_into(program: Callable[..., Armed]) -> None:
    made = program()

    def arm() -> None:
        made.functions("plain", condition="x == 5")
        made.functions("plain", condition="x == 6")

    module = made.after(arm)
    assert [module.plain(x) for x in (4, 5, 6, 5)] == [5, 6, 7, 6]
    assert [point.hits for point in made.points] == [2, 1]


def test_no_such_function(program: Callable[..., Armed]) -> None:
    made = program()
    made.after(lambda: (made.functions("nothing"), made.functions("Shape")))
    for point, name in zip(made.points, ["nothing", "Shape"], strict=True):
        assert not point.verified
        assert point.reason == f"no function of module {made.name} is named {name}"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    yield
    dapper.stop()


@pytest.mark.usefixtures("session")
def test_reloading_and_moving_a_module(tmp_path: Path) -> None:
    made = Armed(tmp_path, "def f():\n    return 1\n", "import")
    point = made.functions("f", kind="count")
    assert (point.file, point.line, point.lines) == ("", None, [])
    assert point.reason == "no module of this name was imported"
    module = made.load()
    assert (module.f(), point.hits, point.line) == (1, 1, 2)
    made.file.write_text("\n\ndef f():\n    return 22\n")
    importlib.invalidate_caches()
    module = importlib.reload(module)
    assert (module.f(), point.hits, point.line, point.tier) == (22, 2, 4, "import")
    # The same name from another folder.
    del sys.modules[made.name]
    folder = tmp_path / "other"
    write(folder, **{made.name: "x = 1\ndef f(): return 333\n"})
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        other = made.load()
    finally:
        sys.path.remove(str(folder))
        del sys.modules[made.name]
    assert (other.f(), point.hits, point.line) == (333, 3, 2)
    assert point.file == str(folder / f"{made.name}.py")
    assert (module.f(), point.hits) == (22, 4)
    dapper.remove_breakpoint(point)
    assert (module.f(), other.f(), point.hits) == (22, 333, 4)


def test_functions_are_captured(program: Callable[..., Armed], tmp_path: Path) -> None:
    made = program()
    log = tmp_path / "log.jsonl"
    _engine.set_log_target(f"jsonl:{log}")
    try:
        capture = {"time_budget_s": 20.0, "stack_depth": 1, "expressions": ["x * 2"]}
        module = made.after(
            lambda: made.functions("[po]*", kind=None, condition="'x' in vars()", capture=capture)
        )
        assert (module.plain(4), module.one()) == (5, 1)
        assert _engine.flush_log() == 0
    finally:
        _engine.set_log_target("stderr")
    (point,) = made.points
    assert (point.kind, point.tier, point.hits) == ("snapshot", made.tier, 1)
    (row,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (row["event"], row["file"], row["function"]) == ("snapshot", str(made.file), "plain")
    assert (row["line"], row["breakpoint"]) == (line_of("y = x + 1"), point.id)
    assert row["stack"][0]["locals"] == {"x": "4"}
    assert row["expressions"] == [{"expression": "x * 2", "value": "8"}]


@pytest.mark.usefixtures("session")
def test_a_file_that_is_imported_under_another_name(tmp_path: Path) -> None:
    made = Armed(tmp_path, "def f():\n    return 1\n", "import")
    point = made.functions("f", kind="count")
    spec = importlib.util.spec_from_file_location("another_name", made.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.f(), point.hits, point.verified) == (1, 0, False)
    # Once its name is met, all code of its file is meant.
    named = made.load()
    assert (named.f(), point.hits, point.verified) == (1, 1, True)
    del sys.modules[made.name]


@pytest.mark.usefixtures("session")
def test_modules_without_python_code() -> None:
    sys.modules["test_places_odd"] = object()  # type: ignore[assignment]
    try:
        reasons = {
            name: dapper.add_function_breakpoint(f"{name}:f", kind="count").reason
            for name in ("sys", "test_places_odd", "no_such_module_of_any_name")
        }
    finally:
        del sys.modules["test_places_odd"]
    assert reasons == {
        "sys": "module sys comes from no file",
        "test_places_odd": "module test_places_odd comes from no file",
        "no_such_module_of_any_name": "no module of this name was imported",
    }
    assert "not Python code" in str(
        dapper.add_function_breakpoint("dapper._engine:f", kind="count").reason
    )


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("", "names no function"),
        ("m:", "names no function"),
        (":f", "names no function"),
        ("f", "names no module: write module:f, or __main__:f"),
        ("a.*:f", "the module has to be named in full"),
        ("m:f()", "names no function"),
        ("m:A..f", "names no function"),
    ],
)
def test_what_names_no_function_is_refused(function: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"names|named") as raised:
        dapper.add_function_breakpoint(function, kind="count")
    assert message in str(raised.value)
    assert dapper.breakpoints() == []
