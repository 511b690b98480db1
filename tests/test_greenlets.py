"""Frames of suspended greenlets, of derived classes too: no thread's stack shows them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from tests.launch import write

import dapper
from dapper import _engine

MODULE = """\
def loop(switch):
    n = 0
    while n < 5:
        n += 1
        switch()
        done = n
    return done
"""


greenlet: Any = importlib.import_module("greenlet")
# As gevent's are.
Derived = type("Derived", (greenlet.greenlet,), {})


@pytest.mark.parametrize("kind", [greenlet.greenlet, Derived])
@pytest.mark.parametrize(
    "backend", ["eval_frame", "settrace"] + ["sys_monitoring"] * hasattr(sys, "monitoring")
)
def test_suspended_greenlets_go_on_with_breakpoints(kind, backend, tmp_path, monkeypatch):
    write(tmp_path, greenlet_module=MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = importlib.import_module("greenlet_module")
    main = greenlet.getcurrent()
    dapper.start()
    _engine.set_backend(backend)
    try:
        before = kind(module.loop)
        before.switch(main.switch)
        point = dapper.add_breakpoint(module.__file__, 6, kind="count")
        after = kind(module.loop)
        after.switch(main.switch)
        while not (before.dead and after.dead):
            for suspended in (before, after):
                if not suspended.dead:
                    suspended.switch()
        assert point.hits == 10
    finally:
        dapper.stop()
        _engine.set_backend("eval_frame")
        sys.modules.pop("greenlet_module")
