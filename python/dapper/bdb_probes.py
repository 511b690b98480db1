"""Watching by probes, for an interpreter without `sys.monitoring`.

Each line of a breakpoint gets a probe, in modules that are loaded and in those that will be. A
probe that has to stop turns tracing on, and stops at the trace event of the next instruction: only
in a trace event does the interpreter let a debugger `jump`.
A breakpoint that no probe can reach keeps the debugger tracing as it would have. So does a frame
that was running or suspended before its line got a probe, until it ends.
"""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary, ref

from dapper import _engine, hooks
from dapper.bdb_watch import Reach, thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from dapper._engine import Breakpoint, Hit
    from dapper.bdb_watch import Watcher

__all__ = ["Probes"]

# A line event and the probe of the same pass are at most this many bytes of bytecode apart:
# three prefixes and the load of the probe.
_PROBE_LENGTH = 8


class _Older(NamedTuple):
    """The generators that run one code object and were there before a breakpoint."""

    code: ref[CodeType]
    generators: list[ref[object]]

    def are_gone(self) -> bool:
        self.generators[:] = [it for it in self.generators if _goes_on(it())]
        return not self.generators


class Probes:
    """The probes of all watchers."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._points: dict[str, dict[int, Breakpoint]] = {}
        # Modules that were running when probes were last looked for in them.
        self._modules: WeakValueDictionary[int, CodeType] = WeakValueDictionary()
        # By the file of their code.
        self._older: dict[str, list[_Older]] = {}

    def join(self, watcher: Watcher) -> str | None:
        """Add a watcher."""
        reason = _engine.unsupported()
        if reason is None:
            self._watchers.append(watcher)
        return reason

    def leave(self, watcher: Watcher) -> None:
        """Forget a watcher, and the probes that only it wanted."""
        self._watchers.remove(watcher)
        self.change(watcher, set(self._points))
        if _engine.is_idle():
            hooks.uninstall()

    def change(self, watcher: Watcher, files: set[str]) -> None:
        """Give the lines of these files that hold breakpoints now a probe, and no others."""
        del watcher
        for file in files:
            points = self._points.setdefault(file, {})
            wanted = {line for watcher in self._watchers for line in _probe_lines(watcher, file)}
            for line in points.keys() - wanted:
                _engine.remove(points.pop(line))
            added = wanted - points.keys()
            for line in added:
                points[line] = _engine.add_followed(file, line, self._at_hit)
            if wanted:
                hooks.install()
            else:
                del self._points[file]
                self._older.pop(file, None)
            _engine.bind([file])
            if added:
                self._older[file] = _older(file)

    def pause(self, watcher: Watcher) -> None:
        """Do nothing: a probe in a thread that nobody owns does nothing either."""

    def enter(self, watcher: Watcher, frame: FrameType) -> Reach:
        """Tell whether probes are enough for what the watcher waits for."""
        running = []
        caller: FrameType | None = frame
        while caller is not None:
            self._bind_module(watcher, caller.f_code)
            if caller.f_trace is not None:
                running.append(caller.f_code)
            caller = caller.f_back
        if watcher.follows_calls or not self._reaches(watcher, running):
            return Reach.NOTHING
        loaded = {
            watcher.canonic(file)
            for module in list(sys.modules.values())
            if isinstance(file := getattr(module, "__file__", None), str)
        }
        loaded.update(watcher.canonic(code.co_filename) for code in running)
        reached = all(
            point.verified or file not in loaded
            for file, points in self._points.items()
            for point in points.values()
        )
        if not reached:
            return Reach.NOTHING
        return Reach.BREAKPOINTS if watcher.waits_for_frame else Reach.EVERYTHING

    def leaves_out(self, watcher: Watcher, frame: FrameType) -> bool:
        """Tell whether a frame of this stack, or a suspended one, has too few probes."""
        running = []
        caller: FrameType | None = frame
        while caller is not None:
            running.append(caller.f_code)
            caller = caller.f_back
        return not self._reaches(watcher, running)

    def stop(self, watcher: Watcher, frame: FrameType) -> None:
        """Have the watcher told of the line by a trace event."""

        def at_instruction(frame: FrameType, _event: str, _arg: object) -> object:
            frame.f_trace_opcodes = traced_opcodes
            frame.f_trace = watcher.dispatch
            sys.settrace(watcher.dispatch)
            _engine.opcode_as_line()
            return watcher.dispatch(frame, "line", None)

        traced_opcodes = frame.f_trace_opcodes
        frame.f_trace_opcodes = True
        frame.f_trace = at_instruction
        # What is called before that, such as a finalizer, is none of the watcher's concern.
        sys.settrace(_trace_nothing)

    def go_on(self, frame: FrameType) -> None:
        """Do nothing: what a watcher was told of says which probe is none of its concern."""

    def is_evaluating(self, frame: FrameType) -> bool:
        """Tell that conditions are evaluated elsewhere."""
        del frame
        return False

    def saved(self, watcher: Watcher) -> int:
        """Return 0: each pass is told."""
        del watcher
        return 0

    def _reaches(self, watcher: Watcher, running: list[CodeType]) -> bool:
        """Tell whether these frames and those that are suspended have all probes they need."""
        suspended = [
            code
            for all_older in self._older.values()
            for older in all_older
            if (code := older.code()) is not None
            and not self._has_probes(watcher, code)
            and not older.are_gone()
        ]
        return not suspended and all(self._has_probes(watcher, code) for code in running)

    def _has_probes(self, watcher: Watcher, code: CodeType) -> bool:
        lines = watcher.lines_in(code)
        if not lines:
            return lines is not None
        points = self._points.get(watcher.canonic(code.co_filename), {})
        numbers = [point.id for line, point in points.items() if line in lines]
        return lines & _body_lines(code) <= _engine.probed_lines(code, numbers)

    def _bind_module(self, watcher: Watcher, code: CodeType) -> None:
        """Look for probes in a module that no import brought, such as a program run again."""
        if code.co_name == "<module>" and id(code) not in self._modules:
            self._modules[id(code)] = code
            file = watcher.canonic(code.co_filename)
            if file in self._points:
                _engine.bind([file])

    def _at_hit(self, hit: Hit) -> None:
        owner = thread.owner
        if owner is None:
            return
        frame = hit.frame
        if owner.reach is Reach.BREAKPOINTS and frame.f_trace is not None:
            # The line event has looked at the breakpoint.
            return
        told, owner.told = owner.told, None
        if told is not None:
            where, line, offset = told
            if (
                where is frame
                and line == frame.f_lineno
                and 0 <= frame.f_lasti - offset <= _PROBE_LENGTH
            ):
                return
        owner.at_line(frame, wanted=True)


def _trace_nothing(_frame: FrameType, _event: str, _arg: object) -> None:
    return None


def _probe_lines(watcher: Watcher, file: str) -> set[int]:
    """Return the lines at which the breakpoints in a file are hit."""
    lines = watcher.lines_of(file)
    functions = watcher.functions_in(file)
    if functions:
        lines |= {
            _first_line(code)
            for code in _codes_of(file)
            if (code.co_firstlineno, code.co_name) in functions
        }
    return lines


def _codes_of(file: str) -> Iterator[CodeType]:
    try:
        code = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return
    found = [code]
    for code in found:
        yield code
        found += [inner for inner in code.co_consts if isinstance(inner, type(code))]


def _first_line(code: CodeType) -> int:
    """Return the line of the first line event in a function."""
    started = False
    for instruction in dis.get_instructions(code):
        if started and instruction.positions is not None and instruction.positions.lineno:
            return instruction.positions.lineno
        started = started or instruction.opname == "RESUME"
    return code.co_firstlineno


@lru_cache(maxsize=256)
def _body_lines(code: CodeType) -> frozenset[int | None]:
    """Return the lines of what runs in a function: the start that comes before has no events."""
    instructions = dis.get_instructions(code)
    start = next((it.offset for it in instructions if it.opname == "RESUME"), -1)
    # The first range may go on behind the start.
    return frozenset(line for _, end, line in code.co_lines() if end > start + 2)


def _older(file: str) -> list[_Older]:
    """Return the generators, coroutines and asynchronous generators of a file that go on."""
    found: dict[int, _Older] = {}
    for generator in _engine.live_generators(file):
        frame = _frame_of(generator)
        if frame is not None:
            code = frame.f_code
            older = found.setdefault(id(code), _Older(ref(code), []))
            older.generators.append(ref(generator))
    return list(found.values())


def _goes_on(generator: object) -> bool:
    return _frame_of(generator) is not None


def _frame_of(generator: object) -> FrameType | None:
    for name in ("gi_frame", "cr_frame", "ag_frame"):
        frame: FrameType | None = getattr(generator, name, None)
        if frame is not None:
            return frame
    return None
