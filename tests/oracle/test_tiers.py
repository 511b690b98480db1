"""Every fixture program by every way to reach its code: the events of settrace, the same output.

`test_loaded` sets the probes when all code is loaded and none has run: bound, swapped at entry, and
watched by the two backends that change no code (there also before the code is loaded).
`test_meanwhile` sets them somewhere in the middle of the program, in whatever runs or is suspended
there (loops, generators, coroutines, `finally` blocks), from the same thread or from another one,
and takes them away again somewhere later. The expected events are those of `sys.settrace` between
the two places.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.oracle.marking import marked
from tests.oracle.runs import SECONDS, Event, Run, difference
from tests.oracle.test_programs import RUNNABLE, STATUS

# More places to arm at, and other ones, find what a few do not: for a run of its own.
POINTS = int(os.environ.get("ORACLE_POINTS", "3"))
SEED = os.environ.get("ORACLE_SEED", "")
RERUN = Path(__file__).with_name("rerun.py")
TIERS: dict[str, dict[str, Any]] = {
    "bound": {},
    "entry": {"promotion": False},
    "settrace": {"backend": "settrace"},
    "sys_monitoring": {"backend": "sys_monitoring"},
}
if not hasattr(sys, "monitoring"):
    del TIERS["sys_monitoring"]
# Backends that change no code watch the code objects that they find when they are told to: not the
# copies that the program makes later (`types.coroutine`).
COPIES_CODE = {"coroutines"}


class Noted(NamedTuple):
    """An event of a run; `None` stands for a call of `mark()`."""

    event: Event | None
    # Raised by CPython itself against its rule: see the recorder.
    spurious: bool = False
    # Seen from outside, where CPython raises such events too.
    watched: bool = False


@dataclass(frozen=True)
class Seen:
    """What one run showed."""

    run: Run
    notes: list[Noted]

    def events(self) -> list[Event]:
        """The events, all of them."""
        return [note.event for note in self.notes if note.event]

    def between(self, first: int, last: int, like: list[Noted]) -> list[Event]:
        """The events after call `first` of `mark()`, and before call `last` if that is not 0.

        A spurious one counts where `like` has the same event and it was watched.
        """
        calls = 0
        found: list[Event] = []
        for note in self.notes:
            if note.event is None:
                calls += 1
            elif calls >= first and (last == 0 or calls < last):
                at = len(found)
                if not note.spurious or like[at : at + 1] == [Noted(note.event, watched=True)]:
                    found.append(note.event)
        return found


class Runs:
    """Runs one program in many ways, in children of one process."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.names: list[str] = []

    def way(self, name: str, **changes: Any) -> dict[str, Any]:
        """How to run the program; the defaults are those of the plain run."""
        way = {"how": "plain", "backend": "eval_frame", "promotion": True, "elsewhere": False}
        way |= {"armed_at": 0, "disarmed_at": 0}
        out = self.folder / f"{self.program.stem}-{name}"
        return way | {"program": str(self.program), "out": str(out), **changes}

    def run(self, *ways: dict[str, Any]) -> list[Seen]:
        """Run the program in each way."""
        order = self.folder / "order.json"
        order.write_text(json.dumps(ways))
        kept = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        done = subprocess.run(
            [sys.executable, RERUN, order],
            cwd=self.folder,
            env=kept | {"PYTHONHASHSEED": "0", "COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        statuses = [int(status) for status in done.stdout.split()]
        return [self.read(way, status) for way, status in zip(ways, statuses, strict=True)]

    def read(self, way: dict[str, Any], status: int) -> Seen:
        """Read what a run left behind."""
        out, err = (Path(way["out"] + suffix).read_text() for suffix in (".stdout", ".stderr"))
        run = Run(status, out, err)
        notes = []
        record = Path(way["out"] + ".events")
        for line in record.read_text().splitlines() if record.exists() else ():
            if line == "mark":
                notes.append(Noted(None))
            elif way["how"] == "recorded":
                _, function, number, flag = line.split("\t")
                event = Event(way["program"], function, int(number))
                notes.append(Noted(event, spurious=flag == "1"))
            else:
                hit = json.loads(line)
                if hit["event"] == "hit":
                    watched = hit["tier"] == "tracing"
                    assert watched or way["backend"] == "eval_frame", line
                    event = Event(hit["file"], hit["function"], hit["line"])
                    notes.append(Noted(event, watched=watched))
        return Seen(run, notes)


def compare(way: dict[str, Any], seen: Seen, plain: Seen, recorded: Seen) -> str:
    """Say what is wrong with a run, if anything is."""
    problems = []
    if seen.run != plain.run:
        problems.append(f"want: {plain.run}\n got: {seen.run}")
    between = way["armed_at"], way["disarmed_at"]
    problems.append(difference(recorded.between(*between, seen.notes), seen.events()))
    told = "\n".join(problem for problem in problems if problem)
    return told and f"--- {Path(way['out']).name} {between}\n{told}"


@pytest.mark.parametrize("program", RUNNABLE, ids=lambda program: program.stem)
def test_loaded(program, tmp_path, tally):
    runs = Runs(program, tmp_path)
    tiers = TIERS
    if program.stem in COPIES_CODE:
        tiers = {name: tier for name, tier in TIERS.items() if "backend" not in tier}
    ways = [runs.way(name, how="loaded", **tier) for name, tier in tiers.items()]
    watching = [name for name, tier in tiers.items() if "backend" in tier]
    ways += [runs.way(f"{name}-before", how="executed", **tiers[name]) for name in watching]
    plain, recorded, *seen = runs.run(
        runs.way("plain"), runs.way("recorded", how="recorded"), *ways
    )
    assert plain.run.status == STATUS.get(program.stem, 0), plain.run.stderr
    assert recorded.run == plain.run, "the recorder disturbs the program"
    problems = [compare(way, one, plain, recorded) for way, one in zip(ways, seen, strict=True)]
    assert not any(problems), "\n".join(filter(None, problems))
    tally.add(seen[0].events())


@pytest.mark.parametrize("program", RUNNABLE, ids=lambda program: program.stem)
def test_meanwhile(program, tmp_path, tally):
    text = marked(program.read_text(), program.stem + SEED)
    copy = tmp_path / program.name
    copy.write_text(text)
    if "mark(); " not in text:
        pytest.skip("holds no statement that another could precede")
    runs = Runs(copy, tmp_path)
    plain, recorded = runs.run(runs.way("plain"), runs.way("recorded", how="recorded"))
    assert recorded.run == plain.run, "the recorder disturbs the program"
    calls = recorded.notes.count(Noted(None))
    choice = random.Random(program.stem + SEED)
    ways = []
    for number in range(POINTS):
        last = max(1, calls * (number + 1) // POINTS)
        armed_at = choice.randint(min(last, 1 + calls * number // POINTS), last)
        disarmed_at = choice.randint(armed_at, calls) + 1 if number % 3 == 1 else 0
        when = {"armed_at": armed_at, "disarmed_at": disarmed_at, "elsewhere": number % 3 == 2}
        for name, tier in TIERS.items():
            ways.append(runs.way(f"{name}-{number}", how="loaded", **when, **tier))
    seen = runs.run(*ways)
    problems = [compare(way, one, plain, recorded) for way, one in zip(ways, seen, strict=True)]
    assert not any(problems), "\n".join(filter(None, problems))
    tally.add([event for one in seen for event in one.events()])
