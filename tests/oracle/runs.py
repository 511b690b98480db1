"""Run one command three ways: as it is, under the recorder, and with a probe on every line.

The plain run says what output, traceback and exit status must be.
The recorded run says which line events must be seen, and in which order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RECORDER = Path(__file__).with_name("recorder.py")
WATCHER = Path(__file__).with_name("watcher.py")
STEPPER = Path(__file__).with_name("stepper.py")
SECONDS = 120
# Events shown before and after the first difference.
CONTEXT = 6


class Event(NamedTuple):
    """A line is about to run."""

    file: str
    function: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} {self.function}"


@dataclass(frozen=True)
class Run:
    """What a run showed to the outside."""

    status: int
    stdout: str
    stderr: str


@dataclass
class Tally:
    """How much was compared."""

    programs: int = 0
    events: int = 0

    def add(self, events: Sequence[Event]) -> None:
        """Count one program."""
        self.programs += 1
        self.events += len(events)

    def __str__(self) -> str:
        return f"{self.events} events of {self.programs} programs compared"


class Place:
    """Where runs happen: a working directory, files for events and a store of variants."""

    def __init__(self, directory: Path, store: Path) -> None:
        self.directory = directory
        self.events = directory / "events"
        kept = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        kept |= {"PYTHONHASHSEED": "0", "DAPPER_CACHE_DIR": str(store), "COLUMNS": "80"}
        self.environment = kept

    def _run(self, *command: str | Path, stdin: str) -> Run:
        done = subprocess.run(
            [sys.executable, *command],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def plain(self, command: Sequence[str], stdin: str = "") -> Run:
        """Run `command` as it is."""
        return self._run(*command, stdin=stdin)

    def recorded(
        self,
        command: Sequence[str],
        files: Sequence[str],
        stdin: str = "",
        *,
        spurious_too: bool = False,
    ) -> tuple[Run, list[Event]]:
        """Run `command` under the recorder; only lines of `files` are events.

        The events that CPython 3.12 raises against its own rule are left out, unless they are
        asked for: see the recorder.
        """
        self.events.unlink(missing_ok=True)
        watched = os.pathsep.join(files)
        run = self._run(RECORDER, self.events, watched, *command, stdin=stdin)
        events = []
        for record in self.events.read_text().splitlines():
            index, function, line, spurious = record.split("\t")
            if spurious == "0" or spurious_too:
                events.append(Event(files[int(index)], function, int(line)))
        return run, events

    def probed(
        self, command: Sequence[str], files: Sequence[str], stdin: str = ""
    ) -> tuple[Run, list[Event]]:
        """Run `command` with a probe on every line of `files`."""
        self.events.unlink(missing_ok=True)
        options = [option for file in files for option in ("--every-line", file)]
        options += ["--events", str(self.events)]
        run = self._run("-m", "dapper", "run", *options, *command, stdin=stdin)
        events = []
        for record in self.events.read_text().splitlines():
            event = json.loads(record)
            if event["event"] == "hit":
                # A hit by tracing would compare CPython with itself.
                assert event["tier"] in ("import", "entry"), record
                events.append(Event(event["file"], event["function"], event["line"]))
        return run, events

    def watched(self, program: str, backend: str) -> tuple[Run, list[Event]]:
        """Run a program with every line of its code watched from outside."""
        self.events.unlink(missing_ok=True)
        run = self._run(WATCHER, self.events, backend, program, stdin="")
        events = []
        for record in self.events.read_text().splitlines():
            event = json.loads(record)
            assert event["tier"] == "tracing", record
            events.append(Event(event["file"], event["function"], event["line"]))
        return run, events

    def stepped(self, program: str) -> tuple[Run, list[Event]]:
        """Run a program while stepping into everything, from its first line to its end."""
        self.events.unlink(missing_ok=True)
        run = self._run(STEPPER, self.events, program, stdin="")
        events = []
        for record in self.events.read_text().splitlines():
            function, line = record.split("\t")
            events.append(Event(program, function, int(line)))
        return run, events


def difference(expected: Sequence[Event], actual: Sequence[Event]) -> str:
    """Describe the first difference, or return an empty text."""
    if expected == actual:
        return ""
    at = 0
    while expected[at : at + 1] == actual[at : at + 1]:
        at += 1
    shown = [f"event {at} of {len(expected)} expected, {len(actual)} seen"]
    shown += [f"      {event}" for event in expected[max(0, at - CONTEXT) : at]]
    shown += [f"want: {event}" for event in expected[at : at + CONTEXT]]
    shown += [f" got: {event}" for event in actual[at : at + CONTEXT]]
    return "\n".join(shown)
