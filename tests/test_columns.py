"""Breakpoints on the code at a column of a line that several code objects share."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest
from tests.conditions import TIERS
from tests.places import Armed, programs

import dapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARED = """\
def f(x):
    é = [(lambda a: a + 1)(x), (lambda b: b * 2)(x), sum(c for c in [x, x])]  # here
    return é


def g(): return 5
"""


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> Iterator[Callable[..., Armed]]:
    yield from programs(tmp_path, monkeypatch, tier, SHARED)


def column(text: str, of: str = SHARED) -> int:
    line = of.splitlines()[1]
    return line.index(text) + 1


@pytest.mark.parametrize(
    ("text", "name", "passes"),
    [
        ("lambda a", "f.<locals>.<lambda>", 1),
        ("a + 1", "f.<locals>.<lambda>", 1),
        ("lambda b", "f.<locals>.<lambda>", 1),
        ("c for", "f.<locals>.<genexpr>", None),
        ("é", "f", None),
    ],
)
def test_a_column_means_the_code_that_stands_there(
    program: Callable[..., Armed], tier: str, text: str, name: str, passes: int | None
) -> None:
    made = program()
    module = made.after(lambda: made.add(column=column(text)))
    (point,) = made.points
    assert module.f(3) == [4, 6, 6]
    assert {hit.function for hit in made.seen} == {name}
    assert {hit.line for hit in made.seen} == {2}
    if passes is not None:
        assert len(made.seen) == passes
    if name.endswith("<lambda>"):
        variables = {*made.seen[0].frame.f_code.co_varnames}
        assert variables == {"a" if text[-1] == "a" or text[0] == "a" else "b"}
    assert (point.line, point.requested_column) == (2, column(text))
    # Code that only frames of a function make is bound with the function.
    assert point.tier == tier


def test_columns_stand_beside_each_other_and_beside_none(program: Callable[..., Armed]) -> None:
    made = program()

    def arm() -> None:
        made.add(column=column("lambda a"), kind="count")
        made.add("b == 3", column=column("lambda b"), kind="count")
        made.add("b == 4", column=column("b *"), kind="count")
        made.add(kind="count")

    module = made.after(arm)
    assert module.f(3) == [4, 6, 6]
    first, second, third, whole = (point.hits for point in made.points)
    assert (first, second, third) == (1, 1, 0)
    assert whole > 3
    dapper.remove_breakpoint(made.points[0])
    assert module.f(4) == [5, 8, 8]
    assert [point.hits for point in made.points][:3] == [1, 1, 1]
    dapper.remove_breakpoint(made.points[3])
    assert module.f(4) == [5, 8, 8]
    assert [point.hits for point in made.points][1:3] == [1, 2]


def test_a_column_in_a_function_of_one_line(program: Callable[..., Armed]) -> None:
    made = program()
    module = made.after(
        lambda: made.points.append(
            dapper.add_breakpoint(made.file, 6, column=17, on_hit=made.on_hit)
        )
    )
    assert module.g() == 5
    assert made.lines_hit() == [("g", 6)]


def test_a_column_behind_the_end_of_its_line(program: Callable[..., Armed]) -> None:
    made = program()
    made.after(lambda: made.add(column=500))
    (point,) = made.points
    length = len(SHARED.splitlines()[1])
    assert not point.verified
    said = f"column 500 is behind the end of line 2, which has {length} characters"
    assert point.reason == said


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig"])
def test_columns_count_characters_in_any_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    cookie = "" if encoding == "utf-8-sig" else f"# -*- coding: {encoding} -*-\n"
    line = "f = [lambda: 'ééééééééé', lambda: 2]\n"
    name = f"encoded_{tmp_path.name}"
    file = tmp_path / f"{name}.py"
    file.write_bytes((cookie + line).encode(encoding))
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    try:
        number = 1 if not cookie else 2
        at = line.index("lambda: 2") + 1
        point = dapper.add_breakpoint(file, number, column=at, kind="count")
        module = importlib.import_module(name)
        module.f[0]()
        assert point.hits == 0
        module.f[1]()
        assert point.hits == 1
    finally:
        dapper.stop()
        sys.modules.pop(name, None)


def test_frames_that_run_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    source = "def f():\n    while True: yield (lambda: 1)()\n"
    made = Armed(tmp_path, source, "bound")
    try:
        module = made.load()
        running = module.f()
        next(running)
        functions = made.functions("f")
        made.points.append(
            dapper.add_breakpoint(made.file, 2, column=source.index("lambda") - 8, kind="count")
        )
        next(running)
        next(running)
        assert {hit.function for hit in made.seen} == {"f"}
        assert functions.verified
        assert made.points[1].hits == 2
    finally:
        dapper.stop()
        sys.modules.pop(made.name, None)


def test_columns_count_from_1(tmp_path: Path) -> None:
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    with pytest.raises(ValueError, match="column 0 does not exist: columns count from 1"):
        dapper.add_breakpoint("m.py", 1, column=0)
    with pytest.raises(ValueError, match="column -1 does not exist"):
        dapper.add_breakpoint("m.py", 1, column=-1)
    dapper.stop()
