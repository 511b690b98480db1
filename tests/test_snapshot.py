"""What a snapshot records, what it leaves out, and that it leaves nothing behind."""

from __future__ import annotations

import json
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from dapper import _engine

rows: list[Path] = []


@pytest.fixture(autouse=True)
def _collected(tmp_path):
    """Every test reads its own records."""
    path = tmp_path / "log.jsonl"
    _engine.set_log_target(f"jsonl:{path}")
    rows.append(path)
    yield
    rows.pop()
    _engine.set_log_target("stderr")


def recorded():
    assert _engine.flush_log() == 0
    return [json.loads(line) for line in rows[-1].read_text().splitlines()]


def snapshot(**options):
    # On a busy machine the time of a production run is over before the first frame.
    _engine.record_snapshot(sys._getframe(1), **{"time_budget_s": 20.0} | options)
    return recorded()[-1]


def presented(value, options):
    return snapshot(**options)["stack"][0]["locals"]["value"]


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __repr__(self):
        raise AssertionError("called")

    def __getattribute__(self, name):
        if name.startswith("__") or name in ("x", "y"):
            return object.__getattribute__(self, name)
        raise AssertionError(name)


class Slots:
    """Attributes in slots, some of them empty, some of a base, and a dictionary beside them."""

    __slots__ = ("__own", "a", "auth_token", "empty")

    def __init__(self):
        self.a = 1
        self.__own = 2
        self.auth_token = "hunter2"


class Meta(type):
    def __getattribute__(cls, name):
        raise AssertionError(name)

    @property
    def __mro__(cls):
        raise AssertionError("called")


class MoreSlots(Slots, metaclass=Meta):
    __slots__ = ("__dict__", "b")
    fixed = (int.real, Slots.__init__)

    def __init__(self):
        Slots.__init__(self)
        self.b = [3]
        self.c = 4

    def __getattribute__(self, name):
        raise AssertionError(name)


class Shadowing(Slots):
    __slots__ = ("a",)

    def __init__(self):
        self.a = 5
        Slots.__dict__["a"].__set__(self, 6)


class Mapping(dict[str, int]):
    def __iter__(self):
        raise AssertionError("called")

    items = keys = values = __len__ = __repr__ = __iter__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-5, "-5"),
        (1.5, "1.5"),
        (2j, "2j"),
        ("it's", '"it\'s"'),
        (b"a\x00", r"b'a\x00'"),
        ([1, [2, [3, [4]]]], "[1, [2, [...]]]"),
        ((1,), "(1,)"),
        ((), "()"),
        ({"a": 1}, "{'a': 1}"),
        (set(), "set()"),
        ({1}, "{1}"),
        (frozenset({1}), "frozenset({1})"),
        (list(range(30)), f"[{', '.join(map(str, range(20)))}, ... 10 more]"),
        ("x" * 300, "'" + "x" * 200 + "'..."),
        (1 << 100_000, "<int of 100001 bits>"),
        (Point(1, "b"), "<Point x=1 y='b'>"),
        (Mapping(a=1), "Mapping({'a': 1})"),
        (Point, "<class Point>"),
        (sys, "<module>"),
        (object(), "<object object>"),
        (Slots(), "<Slots _Slots__own=2 a=1 auth_token=<redacted>>"),
        (MoreSlots(), "<MoreSlots b=[3] _Slots__own=2 a=1 auth_token=<redacted> c=4>"),
        (Shadowing(), "<Shadowing a=5>"),
        (slice(1, 2), "<slice object>"),
    ],
    ids=[f"value{number}" for number in range(26)],
)
def test_values_are_shown_without_running_code(value, text):
    assert presented(value, {}) == text


def test_secrets_are_left_out():
    password = "hunter2"  # noqa: F841
    headers = {"Authorization": "hunter2", b"Cookie": b"hunter2", "accept": "*/*"}  # noqa: F841
    pairs = [("X-Api-Key", "hunter2"), ("a", "b")]  # noqa: F841
    point = Point(1, 2)
    point.__dict__["auth_token"] = "hunter2"
    iban = "hunter2"  # noqa: F841
    row = snapshot(expressions=["password + ''", "1 + 1"], redact=["iban"])
    text = json.dumps(row)
    assert "hunter2" not in text
    found = row["stack"][0]["locals"]
    assert found["headers"] == (
        "{'Authorization': <redacted>, b'Cookie': <redacted>, 'accept': '*/*'}"
    )
    assert found["pairs"] == "[('X-Api-Key', <redacted>), ('a', 'b')]"
    assert found["point"] == "<Point x=1 y=2 auth_token=<redacted>>"
    assert row["expressions"] == [
        {"expression": "password + ''", "value": "<redacted>"},
        {"expression": "1 + 1", "value": "2"},
    ]


def test_the_stack_and_who_ran():
    def inner(cell):
        return snapshot(stack_depth=2, frames_with_locals=1), lambda: cell

    row, _ = inner(5)
    assert row["event"] == "snapshot"
    assert [frame["function"].rpartition(".")[2] for frame in row["stack"]] == [
        "inner",
        "test_the_stack_and_who_ran",
    ]
    assert row["stack"][0]["locals"] == {"cell": "5"}
    assert "locals" not in row["stack"][1]
    assert row["thread"] == "MainThread"
    assert row["task"] is None
    assert row["truncated"] is False
    assert row["line"] == row["stack"][0]["line"]


def test_the_task_that_runs():
    import asyncio

    async def main():
        return snapshot(stack_depth=1)

    async def named():
        return await asyncio.create_task(main(), name="the task")

    assert asyncio.run(named())["task"] == "the task"


def test_free_variables_and_unbound_names():
    free = 1

    def inner():
        if not free:
            never = 1
            print(never)
        return snapshot(stack_depth=1)["stack"][0]["locals"]

    assert inner() == {"free": "1"}


class Canary:
    pass


def test_nothing_of_the_frame_changes_or_lives_longer():
    mine = locals()
    mine["added"] = 1
    canary = Canary()
    gone = weakref.ref(canary)
    assert "canary" in snapshot()["stack"][0]["locals"]
    del canary
    assert gone() is None
    assert mine == {"added": 1}


def test_limits():
    value = ["x" * 100] * 20  # noqa: F841
    row = snapshot(max_total_bytes=500)
    assert row["truncated"]
    assert len(json.dumps(row["stack"][0]["locals"])) < 700
    assert snapshot(time_budget_s=0)["truncated"]
    wrong: list[dict[str, Any]] = [{"depth": 1}, {"repr": "odd"}, {"time_budget_s": -1}]
    for options in wrong:
        with pytest.raises((TypeError, ValueError)):
            _engine.record_snapshot(sys._getframe(), **options)
    with pytest.raises(TypeError):
        _engine.record_snapshot(3)  # type: ignore[arg-type]


def test_the_programs_own_repr_on_demand():
    class Own:
        def __repr__(self):
            return "mine\nand more"

    value = Own()  # noqa: F841
    broken = Point(1, 2)  # noqa: F841
    found = snapshot(repr="full")["stack"][0]["locals"]
    assert found["value"] == "mine\nand more"
    assert found["broken"] == "<Point object: its __repr__ failed>"


def test_a_text_log_gets_one_line(tmp_path):
    class Lines:
        def __repr__(self):
            return "a\nb"

    tall = Lines()  # noqa: F841
    value = 5  # noqa: F841
    _engine.set_log_target(str(tmp_path / "log.txt"))
    options: dict[str, Any] = {
        "stack_depth": 1,
        "expressions": ["value * 2"],
        "time_budget_s": 20.0,
        "repr": "full",
    }
    _engine.record_snapshot(sys._getframe(), **options)
    _engine.flush_log()
    (line,) = (tmp_path / "log.txt").read_text().splitlines()
    assert "test_a_text_log_gets_one_line: value * 2=10" in line
    assert r" tall=a\nb value=5 " in line
