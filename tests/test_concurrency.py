"""Threads, deep recursion, generators and garbage collection around probes."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest
from tests.launch import write

import dapper

MODULE = """\
def count(n):
    for i in range(n):
        x = i
    return n

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def numbers(n):
    for i in range(n):
        got = yield i
        if got:
            yield got

async def wait(n):
    return n

def raises():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return error
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    write(tmp_path, concurrent_module=MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    yield __import__("concurrent_module")
    dapper.stop()
    sys.modules.pop("concurrent_module")


def test_counts_of_many_threads_are_exact(module):
    point = dapper.add_breakpoint(module.__file__, 3, kind="count")
    threads = [threading.Thread(target=module.count, args=(20_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert point.hits == 160_000


def test_breakpoints_come_and_go_while_others_run(module):
    stop = threading.Event()
    problems: list[str] = []

    def work() -> None:
        try:
            while not stop.is_set():
                assert module.count(50) == 50
                assert module.deep(30) == 30
                assert list(module.numbers(5)) == [0, 1, 2, 3, 4]
                assert isinstance(module.raises(), ZeroDivisionError)
        finally:
            if not stop.is_set():
                problems.append("a thread ended early")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    hits: list[dapper.Hit] = []
    for _ in range(6):
        points = [dapper.add_breakpoint(module.__file__, line, kind="count") for line in (3, 7, 11)]
        points.append(dapper.add_breakpoint(module.__file__, 21, on_hit=hits.append))
        for point in points:
            dapper.remove_breakpoint(point)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_recursion_is_as_deep_as_without(module):
    point = dapper.add_breakpoint(module.__file__, 7, kind="count")
    assert module.deep(900) == 900
    assert point.hits == 901
    with pytest.raises(RecursionError):
        module.deep(100_000)


def test_generators_and_coroutines(module):
    lines = (11, 12, 13, 16)
    points = [dapper.add_breakpoint(module.__file__, line, kind="count") for line in lines]
    generator = module.numbers(3)
    assert [next(generator), generator.send("x"), next(generator)] == [0, "x", 1]
    generator.close()
    coroutine = module.wait(4)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert [point.hits for point in points] == [2, 1, 1, 1]


def test_a_suspended_generator_is_watched_until_it_leaves(module):
    generator = module.numbers(3)
    next(generator)
    code = generator.gi_code
    point = dapper.add_breakpoint(module.__file__, 11, kind="count")
    assert generator.gi_code is code
    assert list(generator) == [1, 2]
    assert point.hits == 2
    assert list(module.numbers(2)) == [0, 1]
    assert (point.hits, point.tier) == (4, "bound")


def test_a_callback_does_not_keep_what_it_refers_to(module):
    class Owner:
        def hit(self, hit: dapper.Hit) -> None: ...

    owner = Owner()
    gone = weakref.ref(owner)
    point = dapper.add_breakpoint(module.__file__, 3, on_hit=owner.hit)
    module.count(1)
    dapper.remove_breakpoint(point)
    del owner, point
    gc.collect()
    assert gone() is None


def test_an_exception_keeps_its_lines_and_columns(module):
    plain = module.raises().__traceback__
    before = [(plain.tb_lineno, *list(plain.tb_frame.f_code.co_positions())[plain.tb_lasti // 2])]
    dapper.add_breakpoint(module.__file__, 20, kind="count")
    probed = module.raises().__traceback__
    after = [(probed.tb_lineno, *list(probed.tb_frame.f_code.co_positions())[probed.tb_lasti // 2])]
    assert before == after
