"""Every fixture program with every line watched from outside: the events of `sys.settrace`.

No bytecode is changed. Both ways of watching are compared, and both see what CPython reports,
its quirks included.
"""

from __future__ import annotations

import sys

import pytest
from tests.oracle.runs import Place, difference
from tests.oracle.test_programs import RUNNABLE, STATUS

BACKENDS = ["sys_monitoring", "settrace"] if hasattr(sys, "monitoring") else ["settrace"]
# `types.coroutine` gives a function a code object of its own, which nobody watches.
REPLACED = {"coroutines": {"suspend"}}


@pytest.fixture
def place(tmp_path, store) -> Place:
    return Place(tmp_path, store)


@pytest.mark.parametrize("program", RUNNABLE, ids=lambda program: program.stem)
def test_every_line_watched(program, place, tally):
    command = [str(program)]
    plain = place.plain(command)
    assert plain.status == STATUS.get(program.stem, 0), plain.stderr
    _, expected = place.recorded(command, command, spurious_too=True)
    replaced = REPLACED.get(program.stem, set())
    expected = [event for event in expected if event.function not in replaced]
    for backend in BACKENDS:
        watched, events = place.watched(str(program), backend)
        assert not difference(expected, events), backend + difference(expected, events)
        assert watched == plain
        tally.add(events)
