"""Every fixture program with a probe on every line: the same events and the same output.

The expected events are those of `sys.settrace` in a run of its own.
Nothing is compared loosely. Where CPython breaks its own rule, the recorder says how (3.12 only).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.oracle.runs import ROOT, Place, difference

PROGRAMS = sorted((ROOT / "fixtures" / "programs").glob("*.py"))
# The status of the programs that are meant to fail.
STATUS = {
    "sys_exit_codes": 7,
    "sys_exit_text": 1,
    "syntax_error_at_run_time": 1,
    "uncaught_chain": 1,
    "uncaught_exception": 1,
}


def required_version(program: Path) -> tuple[int, int]:
    """The oldest version whose syntax the program uses, as its first line says."""
    first = program.read_text().partition("\n")[0]
    found = re.fullmatch(r"# requires: 3\.(\d+)", first)
    return (3, int(found[1])) if found else (3, 11)


RUNNABLE = [program for program in PROGRAMS if required_version(program) <= sys.version_info]


@pytest.fixture
def place(tmp_path, store) -> Place:
    return Place(tmp_path, store)


@pytest.mark.parametrize("program", RUNNABLE, ids=lambda program: program.stem)
def test_every_line(program, place, tally):
    command = [str(program)]
    plain = place.plain(command)
    assert plain.status == STATUS.get(program.stem, 0), plain.stderr
    recorded, expected = place.recorded(command, command)
    assert recorded == plain, "the recorder disturbs the program"
    assert expected
    probed, events = place.probed(command, command)
    assert not difference(expected, events), difference(expected, events)
    assert probed == plain
    tally.add(events)
