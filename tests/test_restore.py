"""What comes back when breakpoints go: the very code objects, everywhere, and no reference more.

The module below holds its functions in every way that the standard library knows.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from tests.launch import python

import dapper
from dapper import _engine

MODULE = """\
import contextlib, dataclasses, enum, functools, operator, types

def plain(x):
    y = x + 1
    return y

def factory(n):
    def inner(x):
        def innermost():
            return x + n
        return innermost
    return inner

made = factory(1)
deeper = made(2)

class Thing:
    size = 3

    def __init__(self, size=4):
        self.size = size

    def method(self):
        return self.size

    @property
    def doubled(self):
        return self.size * 2

    @doubled.setter
    def doubled(self, value):
        self.size = value

    @staticmethod
    def static(x):
        return x

    @classmethod
    def build(cls):
        return cls(9)

    @functools.cached_property
    def once(self):
        return [self.size]

    @functools.singledispatchmethod
    def kind(self, value):
        return "any"

    @kind.register
    def _(self, value: int):
        return "int"

    class Inner:
        def method(self):
            return lambda: self

bound = Thing().method
partial = functools.partial(plain, 5)

def decorate(function):
    @functools.wraps(function)
    def around(*args):
        return function(*args)
    return around

@decorate
@decorate
def decorated(x):
    return -x

@functools.lru_cache
def cached(x):
    return x

@contextlib.contextmanager
def managed():
    yield 1

@types.coroutine
def suspends():
    return (yield 2)

async def awaits():
    return await suspends()

async def ticks():
    yield 3

def makes_a_class(base):
    class Made(base):
        def method(self):
            return super().method() + 1
    return Made

Made = makes_a_class(Thing)

@dataclasses.dataclass
class Record:
    a: int = 1
    def total(self):
        return self.a

class Colour(enum.Enum):
    RED = 1
    def describe(self):
        return self.name

table = {"key": lambda x: x, "list": [lambda: [i for i in range(3)]]}
hidden = (lambda f: lambda: f(1))(plain)
# Only this code object knows what it will be a function of.
code_only = plain.__code__

def numbers():
    for i in range(5):
        got = yield i
        try:
            yield got
        finally:
            got = None

suspended = numbers()
next(suspended)
suspended_coroutine = awaits()
suspended_coroutine.send(None)

def use():
    thing = Made()
    thing.doubled = 8
    out = [plain(1), deeper(), made(3)(), thing.method(), thing.doubled, Thing.static(1)]
    out += [Thing.build().size, thing.once, thing.kind(1), thing.kind(""), bound(), partial()]
    out += [decorated(1), cached(1), drive(awaits(), 7), Record(2).total(), Colour.RED.describe()]
    out += [table["key"](1), table["list"][0](), hidden(), makes_a_class(Thing)().method()]
    out += [list(numbers())[:2], type(Thing.Inner().method()()).__name__]
    with managed() as value:
        out.append(value)
    return out

def drive(coroutine, value):
    try:
        while True:
            coroutine.send(None) if value is None else coroutine.send(None)
    except StopIteration as stop:
        return stop.value
"""


@pytest.fixture
def path(tmp_path) -> Path:
    made: Path = tmp_path / "held.py"
    made.write_text(MODULE)
    return made


@pytest.fixture
def module(path, monkeypatch) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("held", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "held", module)
    spec.loader.exec_module(module)
    yield module
    module.suspended_coroutine.close()


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    dapper.start()
    yield
    dapper.stop()
    _engine.set_promotion(True)
    _engine.set_backend("eval_frame")


def arm(file: Path) -> None:
    _engine.set_every_line([str(file)])
    _engine.bind([str(file)])


def disarm() -> None:
    _engine.set_every_line([])
    _engine.restore()


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def functions(file: Path) -> list[FunctionType]:
    """Every function object of the file, found by way of the collector."""
    found = [o for o in gc.get_objects() if type(o) is FunctionType]
    return [f for f in found if f.__code__.co_filename == str(file)]


def held(of: list[FunctionType]) -> list[CodeType]:
    """The code objects of functions, and all that are inside them, in a fixed order."""
    return [code for function in of for code in codes_in(function.__code__)]


WAYS: list[tuple[str, Callable[[], None]]] = [
    ("bound", lambda: _engine.set_promotion(True)),
    ("entry", lambda: _engine.set_promotion(False)),
    ("settrace", lambda: _engine.set_backend("settrace")),
]
if hasattr(sys, "monitoring"):
    WAYS.append(("sys_monitoring", lambda: _engine.set_backend("sys_monitoring")))


@pytest.fixture(params=WAYS, ids=lambda way: way[0])
def way(request: pytest.FixtureRequest) -> str:
    name, choose = request.param
    choose()
    return str(name)


def is_init(code: CodeType) -> bool:
    return sys.version_info[:2] == (3, 13) and code.co_name == "__init__"


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
def test_every_code_object_comes_back(module, path, way, frozen):
    of = functions(path)
    before = held(of)
    assert len(before) >= 40
    plainly = module.use()
    if frozen:
        gc.freeze()
    try:
        for _ in range(3):
            arm(path)
            during = held(of)
            if way != "bound":
                assert all(a is b or is_init(b) for a, b in zip(during, before, strict=True))
            else:
                changed = sum(a is not b for a, b in zip(during, before, strict=True))
                assert changed > len(before) * 0.9
            assert module.use() == plainly
            assert next(module.suspended) is None
            disarm()
            assert all(a is b for a, b in zip(held(of), before, strict=True))
            assert module.use() == plainly
            assert next(module.suspended) in range(5)
    finally:
        gc.unfreeze()


def test_the_way_is_changed_while_armed(module, path):
    of = functions(path)
    before = held(of)
    plainly = module.use()
    arm(path)
    for _, choose in WAYS + WAYS[::-1]:
        choose()
        _engine.set_backend("eval_frame")
        assert module.use() == plainly
    disarm()
    assert all(a is b for a, b in zip(held(of), before, strict=True))


def test_code_born_with_probes_becomes_what_the_compiler_made(path, monkeypatch):
    """Armed at import, taken up, let go: a decorator's flags in a copy of the code stay."""
    monkeypatch.syspath_prepend(path.parent)
    _engine.set_every_line([str(path)])
    dapper.stop()
    dapper.start(dapper.Config(every_line=[str(path)]))
    module = importlib.import_module("held")
    assert "dapper probe" in str(module.plain.__code__.co_consts)
    plainly = module.use()
    _engine.bind([str(path)])
    assert module.use() == plainly
    disarm()
    assert module.use() == plainly
    assert module.suspends.__code__.co_flags & 0x100
    assert not any("dapper" in str(code.co_consts) for code in held(functions(path)))
    module.suspended_coroutine.close()
    del sys.modules["held"]


def test_functions_die_when_they_would(module, path, way):
    def die() -> bool:
        inner = module.factory(1)
        innermost = inner(2)
        gone = [False]

        class Thing:
            def __del__(self) -> None:
                gone[0] = True

        innermost.thing = Thing()
        del inner, innermost
        return gone[0]

    assert die()
    arm(path)
    assert die()
    disarm()
    assert die()


def test_nothing_is_kept_of_a_module_that_goes(path, way):
    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location("held", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["held"] = module
        spec.loader.exec_module(module)
        return module

    arm(path)
    module = load()
    _engine.bind([str(path)])
    module.use()
    module.suspended_coroutine.close()
    del sys.modules["held"], module
    disarm()
    gc.collect()
    assert functions(path) == []


def counts(before: list[CodeType]) -> list[int]:
    # Classes that were made and dropped hold their code until they are collected.
    gc.collect()
    return [sys.getrefcount(code) for code in before]


def growth(times: int, action: Callable[[], object]) -> int:
    """How many blocks of memory more there are after some more of the same."""
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        action()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_no_reference_is_kept_or_lost(module, path, way):
    def cycle() -> None:
        arm(path)
        module.use()
        disarm()
        module.use()

    before = held(functions(path))
    for _ in range(10):
        # What is kept from the first use to the next is there from then on.
        cycle()
    references = counts(before)
    # Making a class costs some blocks for ever in some versions.
    plainly = growth(40, module.use)
    # Fewer than one for each code object and each time.
    assert growth(20, cycle) - plainly < 20 * len(before) / 2
    assert counts(before) == references


def test_no_reference_of_armed_code_is_lost(module, path, way):
    plainly = growth(50, module.use)
    arm(path)
    module.use()
    before = held(functions(path))
    references = counts(before)
    assert growth(50, module.use) - plainly < 50 * len(before) / 2
    assert counts(before) == references


MADE_LATER = """\
import sys, types, marshal
from dapper import _engine
import held
way = sys.argv[1]
_engine.set_promotion(way == "bound")
_engine.set_every_line([held.__file__])
_engine.bind([held.__file__])
made = types.FunctionType(held.code_only, vars(held))
renamed = types.FunctionType(held.plain.__code__.replace(co_name="renamed"), vars(held))
print(held.plain(1), made(1), renamed(1), held.use() == held.use())
_engine.set_every_line([])
_engine.restore()
print(held.plain(1), made(1), renamed(1), renamed.__code__.co_name, held.use() == held.use())
print("dapper" in str(renamed.__code__.co_consts), "dapper" in str(made.__code__.co_consts))
"""


@pytest.mark.parametrize("way", ["bound", "entry"])
def test_functions_that_the_program_makes_of_code(path, way):
    (path.parent / "later.py").write_text(MADE_LATER)
    run = python("later.py", way, cwd=path.parent)
    assert (run.status, run.err) == (0, "")
    assert run.out == "2 2 2 True\n2 2 2 renamed True\nFalse False\n"
