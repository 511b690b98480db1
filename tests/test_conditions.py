"""Conditions evaluated out of line: what they mean, and that nothing of them leaks."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.conditions import TIERS, Program
from tests.launch import dapper_run, write

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


@pytest.mark.parametrize(
    "condition",
    [
        "x == 5",
        "  x == 5",
        "x == 5  # five",
        "x == (\n 5\n)",
        "y == 2 and z == 7",
        "args == (8,) and kwargs == {'k': 9}",
        "size == 10",
        "len(items) == 3",
        "all(item < x for item in items)",
        "[item for item in items if item < x] == items",
        "(lambda: x)() == 5",
        "any(x in (a, 5) for a in [lambda: x])",
        "(w := x) == 5 and w == 5",
        "[last := i for i in items] and last == 3",
        "shadowed == 'global'",
        "'z' in locals() and 'late' not in locals()",
        "eval('x') == 5",
        "sorted(dir())[0] == 'args'",
        "f'{x}' == '5'",
        "__name__.startswith('program')",
        "(x, y)",
    ],
)
def test_a_function_sees_what_is_written_there(program, condition):
    made = program(FUNCTION)
    assert made.run(lambda m: m.f(5, 8, k=9), condition) == 7
    assert [hit.error for hit in made.seen] == [None]
    (point,) = made.points
    assert (point.hits, point.evaluations, point.true_share) == (1, 1, 1.0)


@pytest.mark.parametrize("condition", ["x == 6", "not items", "0", "''", "None", "x is z"])
def test_a_false_condition_does_nothing(program, condition):
    made = program(FUNCTION)
    assert made.run(lambda m: m.f(5), condition) == 7
    (point,) = made.points
    assert made.seen == []
    assert (point.hits, point.fired, point.evaluations, point.true_share) == (0, 0, 1, 0.0)


CLOSURE = """\
def outer(a):
    b = [a]
    unset = None
    def inner(c):
        nonlocal b
        b = b + [c]
        if c < 0:
            return unset
        return a, b  # here
    del unset
    return inner
"""


@pytest.mark.parametrize(
    "condition",
    ["a == 1", "b == [1, 2]", "[a for _ in b] == [1, 1]", "(lambda: (a, c))() == (1, 2)"],
)
def test_a_closure_sees_its_cells(program, condition):
    made = program(CLOSURE)
    made.run(lambda m: m.outer(1)(2), condition)
    assert [hit.error for hit in made.seen] == [None]


def test_an_empty_cell_is_no_variable(program):
    made = program(CLOSURE)
    made.run(lambda m: m.outer(1)(2), "unset is None")
    assert [repr(hit.error) for hit in made.seen] == ["NameError(\"name 'unset' is not defined\")"]


PRIVATE = """\
__outside = 1

class _Box:
    __shared = 3
    values = [__shared]
    copy = list(values)  # body

    def __init__(self):
        self.__content = 4

    def show(self, __hidden=5):
        def inner():
            return self  # nested
        return inner()  # here
"""


@pytest.mark.parametrize(
    ("condition", "mark"),
    [
        ("self.__content == 4", "here"),
        ("self.__shared == 3 and __hidden == 5", "here"),
        ("[self.__content for _ in '1'] == [4]", "here"),
        ("self.__content == 4", "nested"),
    ],
)
def test_private_names_are_those_of_the_class(program, condition, mark):
    made = program(PRIVATE)
    made.run(lambda m: m._Box().show(), condition, mark=mark)
    assert [hit.error for hit in made.seen] == [None]


BODIES = """\
count = 0
for i in range(3):
    count += i  # module
doubled = [
    n * 2
    for n in range(3)  # comprehension
]

def make(free):
    class Body:
        attribute = 7
        used = free
        __private = 8
        last = attribute  # class
    return Body

def numbers():
    total = 0
    for n in range(4):
        total += n
        yield total  # generator

async def work(x):
    await nothing()
    return x  # coroutine

async def nothing():
    pass
made = make(6)
"""


@pytest.mark.parametrize(
    ("mark", "condition", "hits"),
    [
        ("module", "i == 1", 1),
        ("module", "count == 1 and i == 2", 1),
        ("module", "[i for _ in '1'] == [i]", 3),
        ("module", "(count := 100)", 3),
        ("class", "attribute == 7 and count == 3", 1),
        ("class", "free == 6", 1),
        ("class", "__private == 8", 1),
        ("class", "__module__ == __name__", 1),
    ],
)
def test_bodies_are_evaluated_in_their_namespace(tmp_path, monkeypatch, mark, condition, hits):
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(Program.config(tmp_path, "import"))
    try:
        made = Program(tmp_path, BODIES, "import")
        module: Any = made.run(lambda m: m, condition, mark=mark)
    finally:
        dapper.stop()
        sys.modules.pop(made.name)
    assert [hit.error for hit in made.seen] == [None] * hits
    assert (module.count, module.doubled, module.made.last) == (3, [0, 2, 4], 7)


def test_a_comprehension_sees_its_variable(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(Program.config(tmp_path, "import"))
    try:
        made = Program(tmp_path, BODIES, "import")
        made.run(lambda m: m, "n == 1", mark="comprehension")
    finally:
        dapper.stop()
        sys.modules.pop(made.name)
    assert (made.points[0].evaluations or 0) >= 3


@pytest.mark.parametrize(
    ("mark", "condition", "call", "hits"),
    [
        ("generator", "total == 3", lambda m: list(m.numbers()), 1),
        ("generator", "n % 2", lambda m: list(m.numbers()), 2),
        ("coroutine", "x == 2", lambda m: drive(m.work(2)), 1),
    ],
)
def test_generators_and_coroutines(program, mark, condition, call, hits):
    made = program(BODIES)
    made.run(call, condition, mark=mark)
    assert [hit.error for hit in made.seen] == [None] * hits


def drive(coroutine):
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_an_error_stops_and_is_shown(program):
    made = program(FUNCTION)
    assert made.run(lambda m: [m.f(5), m.f(6)], "x.missing > 1") == [7, 8]
    assert [type(hit.error) for hit in made.seen] == [AttributeError] * 2
    (point,) = made.points
    assert (point.hits, point.fired, point.evaluations, point.errors) == (0, 0, 2, 2)
    assert point.last_error == "AttributeError: 'int' object has no attribute 'missing'"


def test_an_error_of_the_truth_test_is_an_error_of_the_condition(program):
    made = program(
        "class Odd:\n    def __bool__(self):\n        1 / 0\n\ndef f(x):\n    return x  # here\n"
    )
    made.run(lambda m: m.f(m.Odd()), "x")
    assert made.points[0].last_error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("kind", ["log", "count"])
def test_an_error_is_told_once_where_nothing_stops(program, capfd, kind):
    made = program(FUNCTION)
    message = {"log_message": "x"} if kind == "log" else {}
    made.run(lambda m: [m.f(5), m.f(6)], "x.missing", kind=kind, **message)
    err = capfd.readouterr().err
    told = f'dapper: condition "x.missing" of {made.file}:{made.line()} failed: AttributeError'
    assert err.count(told) == 1
    assert err.count("\n") == 1
    assert (made.points[0].hits, made.points[0].errors) == (0, 2)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_what_leaves_the_program_does(program, error):
    made = program(FUNCTION + f"def leave():\n    raise {error}\n")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        made.run(lambda m: m.f(5), "leave()")


def test_other_exceptions_stay(program):
    made = program(FUNCTION + "def leave():\n    raise GeneratorExit\n")
    assert made.run(lambda m: m.f(5), "leave()") == 7
    assert [type(hit.error) for hit in made.seen] == [GeneratorExit]


ENDLESS = """\
def ever():
    while True:
        try:
            ever.x = 1
        except Exception:
            pass
"""


def test_a_condition_without_end_is_ended(program):
    made = program(
        FUNCTION + ENDLESS,
        condition_budget_s=0.02,
    )
    assert made.run(lambda m: [m.f(5), m.f(6)], "x == 5 and ever()") == [7, 8]
    (hit,) = made.seen
    assert isinstance(hit.error, TimeoutError)
    assert made.points[0].last_error == (
        "TimeoutError: evaluation took longer than 0.02 s (condition_budget_s)"
    )


def test_a_long_condition_within_its_budget_is_not_ended(program):
    made = program(FUNCTION, condition_budget_s=30)
    made.run(lambda m: m.f(5), "sum(i for i in range(100_000)) > x")
    assert [hit.error for hit in made.seen] == [None]


def test_nothing_is_raised_after_the_end(program):
    """One call of native code that takes too long ends before it can be interrupted."""
    made = program(FUNCTION, condition_budget_s=0.005)
    module = made.load() if made.tier != "import" else None
    made.add("__import__('time').sleep(0.03) or x < 0")
    module = module or made.load()
    for x in range(5):
        assert module.f(x) == x + 2
        sum(range(10_000))
    assert made.points[0].evaluations == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x >", 'condition "x >" is no expression: invalid syntax at its end'),
        ("", "is no expression"),
        ("x = 1", "is no expression"),
        ("1) or (2", "is no expression"),
        ("x y", "is no expression: invalid syntax"),
        ("yield x", "is no expression: invalid syntax at column 1"),
        ("await x", "is no expression: 'await' outside"),
        ("x\0", "is no expression"),
        ("(" * 5000, "is no expression"),
        ("import os", "is no expression"),
    ],
)
def test_what_is_no_expression_is_refused(tmp_path, text, message):
    dapper.start(Program.config(tmp_path, "bound"))
    try:
        with pytest.raises(ValueError, match=message):
            dapper.add_breakpoint(__file__, 1, condition=text, kind="count")
        assert dapper.breakpoints() == []
    finally:
        dapper.stop()


MESSAGE = "x={x} {y!r:>4} {{x}} {missing} {z:{y}d} {x=}"


def test_a_message_is_evaluated_at_the_line(program, capfd):
    made = program(FUNCTION)
    made.run(lambda m: [m.f(5), m.f(6)], "x == 5", log_message=MESSAGE)
    error = "<error: NameError: name 'missing' is not defined>"
    assert capfd.readouterr().err == f"x=5    2 {{x}} {error}  7 x=5\n"


def test_the_prompt_shows_the_error(tmp_path):
    write(tmp_path, app=FUNCTION + "print(f(5))\n")
    line = Program(tmp_path, FUNCTION, "bound").line()
    run = dapper_run(
        "--break", f"app.py:{line}", "--if", "x.missing", "app.py", cwd=tmp_path, stdin="c\n"
    )
    assert run.status == 0
    error = "AttributeError: 'int' object has no attribute 'missing'"
    assert f"condition 'x.missing' failed: {error}" in run.out
    assert run.out.endswith("7\n")


def test_an_unknown_name_is_remarked_upon(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(Program.config(tmp_path, "bound"))
    made = Program(tmp_path, FUNCTION, "bound")
    try:
        made.load()
        made.add("mising + x + size + len(items)", kind="count")
        made.add("[q for q in items] and _private.__x", kind="count")
        made.add("late and _private", log_message="{late} {nothing}")
        reasons = [point.reason for point in made.points]
    finally:
        dapper.stop()
        sys.modules.pop(made.name)
    assert reasons == [
        "nothing at this line is called `mising` now",
        "nothing at this line is called `_private` now",
        "nothing at this line is called `_private`, `nothing` now",
    ]
