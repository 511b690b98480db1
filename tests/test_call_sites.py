"""Call sites stay specialised while the functions that they call hold variants."""

import dis
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dapper
from dapper import _engine

SOURCE = """
def function(x):
    if x < 0:
        return -1
    return x + 1

class Class:
    def __init__(self, v):
        if v < 0:
            v = 0
        self.v = v

    @property
    def prop(self):
        if self.v < -5:
            return 0
        return self.v

    def method(self, k):
        if k < 0:
            return None
        return k

def generator(n):
    for i in range(n):
        if i < 0:
            continue
        yield i

def loop(n):
    for i in range(n):
        function(i)
        instance = Class(i)
        instance.prop
        instance.method(i)
    for _ in generator(n):
        pass
"""
NEVER_REACHED = ["return -1", "v = 0", "return 0", "return None", "continue"]
ROUNDS = 20_000


def specialised(module: ModuleType) -> dict[int, str]:
    """Return the specialised instructions of the loop by offset."""
    code = module.loop.__code__
    plain = dis.get_instructions(code)
    adaptive = dis.get_instructions(code, adaptive=True)
    return {
        now.offset: now.opname
        for base, now in zip(plain, adaptive, strict=True)
        if base.opname != now.opname and "ADAPTIVE" not in now.opname
    }


def test_calls_of_functions_with_probes_stay_specialised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "call_sites.py"
    source.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "call_sites", raising=False)
    module = __import__("call_sites")
    module.loop(ROUNDS)
    module.loop(ROUNDS)
    before = specialised(module)
    assert any("PY_EXACT_ARGS" in name for name in before.values())
    dapper.start()
    try:
        lines = SOURCE.splitlines()
        for text in NEVER_REACHED:
            line = next(n for n, found in enumerate(lines, 1) if text in found)
            assert dapper.add_breakpoint(source, line, kind="count").tier == "bound"
        module.loop(ROUNDS)
        armed = specialised(module)
        assert {at: armed.get(at) for at in before} == before
        assert not _engine.eval_frame_hooked()
    finally:
        dapper.stop()
    module.loop(ROUNDS)
    after = specialised(module)
    assert {at: after.get(at) for at in before} == before
