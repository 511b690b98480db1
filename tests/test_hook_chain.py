"""Beside another tool's eval-frame hook, in every order of coming and going."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
from tests.launch import python, write

SOURCE = Path(__file__).resolve().parent / "stress" / "otherhook.c"

PRELUDE = """\
import otherhook, victim
import dapper
from dapper import _engine
dapper.start()
_engine.set_promotion(False)
def arm():
    return dapper.add_breakpoint(victim.__file__, 2, kind="count")
def hits(point, n=3):
    before = point.hits
    for _ in range(n):
        victim.work()
    return point.hits - before
def other_sees():
    before = otherhook.seen()
    victim.work()
    return otherhook.seen() > before
"""

ORDERS = {
    "we come last and go first": """
otherhook.install(True)
point = arm()
assert hits(point) == 3
assert other_sees()
dapper.remove_breakpoint(point)
assert other_sees() and not _engine.entry_hook_installed()
otherhook.uninstall()
assert not _engine.eval_frame_hooked()
""",
    "we come first and go last": """
point = arm()
otherhook.install(True)
assert hits(point) == 3 and other_sees()
otherhook.uninstall()
assert hits(point) == 3 and not other_sees()
dapper.remove_breakpoint(point)
assert not _engine.eval_frame_hooked()
""",
    "we come first and go first": """
point = arm()
otherhook.install(True)
dapper.remove_breakpoint(point)
assert other_sees() and not _engine.entry_hook_installed()
again = arm()
assert hits(again) == 3 and other_sees()
dapper.remove_breakpoint(again)
otherhook.uninstall()
victim.work()
assert not _engine.eval_frame_hooked()
third = arm()
assert hits(third) == 3
dapper.stop()
assert not _engine.eval_frame_hooked()
""",
    "we come last and go last": """
otherhook.install(False)
point = arm()
assert hits(point) == 3 and other_sees()
otherhook.uninstall()
victim.work()
second = arm()
assert hits(second) == 3 and not other_sees()
dapper.stop()
assert not _engine.eval_frame_hooked()
""",
    "another that does not pass on": """
point = arm()
otherhook.install(False)
assert hits(point) == 0
second = arm()
assert hits(point) == 3 and hits(second) == 3 and other_sees()
dapper.remove_breakpoint(point)
dapper.remove_breakpoint(second)
assert other_sees() and not _engine.entry_hook_installed()
otherhook.uninstall()
assert not _engine.eval_frame_hooked()
""",
}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the other tool, compiled for this interpreter."""
    folder = tmp_path_factory.mktemp("other")
    include = sysconfig.get_path("include")
    target = folder / "otherhook.so"
    command = ["cc", "-shared", "-fPIC", "-O1", f"-I{include}", str(SOURCE), "-o", str(target)]
    subprocess.run(command, check=True)
    return folder


@pytest.mark.parametrize("name", ORDERS)
def test_order(name: str, other: Path, tmp_path: Path) -> None:
    write(tmp_path, victim="def work():\n    return 1\n", program=PRELUDE + ORDERS[name])
    program = f"import sys; sys.path[:0] = {[str(tmp_path), str(other)]}; import program"
    outcome = python("-X", "faulthandler", "-c", program, cwd=tmp_path)
    assert outcome.status == 0, outcome.err
