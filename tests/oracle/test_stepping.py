"""Every fixture program stepped through from its first line to its end: the events of settrace.

Stepping into everything stops where `sys.settrace` reports a line of the first thread.
"""

from __future__ import annotations

import pytest
from tests.oracle.runs import Place, difference
from tests.oracle.test_programs import RUNNABLE, STATUS

# What runs in other threads, after the first frame has left, or in other tasks while the one that
# is stepped through waits, is no part of the step.
ELSEWHERE = {
    "async_control_flow",
    "coroutines",
    "sys_exit_codes",
    "threads_joined",
    "uncaught_in_thread",
}
STEPPED = [program for program in RUNNABLE if program.stem not in ELSEWHERE]


@pytest.fixture
def place(tmp_path, store) -> Place:
    return Place(tmp_path, store)


@pytest.mark.parametrize("program", STEPPED, ids=lambda program: program.stem)
def test_every_line_stepped(program, place, tally):
    command = [str(program)]
    plain = place.plain(command)
    assert plain.status == STATUS.get(program.stem, 0), plain.stderr
    _, expected = place.recorded(command, command, spurious_too=True)
    stepped, events = place.stepped(str(program))
    assert not difference(expected, events), difference(expected, events)
    assert stepped == plain
    tally.add(events)
