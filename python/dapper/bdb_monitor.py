"""Watching by `sys.monitoring`: events of the lines and frames that matter, and of no others.

Every code object is met when it is first called or resumed, and costs one event for it; those that
hold a line of a breakpoint, or that a followed frame runs, get local events. A location that does
not matter switches itself off, so that a function with a breakpoint runs at full speed too.
A stop has to be a real event here: only in one does the interpreter let a debugger `jump`. It is a
line event, or, where the engine evaluates the condition in the line, that of the jump which follows
when it held.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from dapper import _engine
from dapper.bdb_compiled import Conditions
from dapper.bdb_watch import Reach, thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from dapper.bdb_watch import Due, Watcher

__all__ = ["Monitor"]

_monitoring: Any = vars(sys)["monitoring"]
_events = _monitoring.events
_DISABLE = _monitoring.DISABLE

_TOOL = "dapper bdb"
# Those first that no tool has by custom, and the debugger's last: a `Bdb` that monitors by itself
# takes that one or fails.
_TOOLS = (3, 4, 5, 2, 1, _monitoring.DEBUGGER_ID)
# Watchers beyond so many have their conditions evaluated at line events.
_MARKS = [1 << bit for bit in range(64)]
_LINES = _events.LINE | _events.JUMP
_CALLS = _events.PY_START | _events.PY_RESUME
_FRAME = _CALLS | _LINES | _events.PY_RETURN | _events.PY_YIELD | _events.STOP_ITERATION
# These two can only be had for all code; they cost nothing until something is raised.
_RAISES = _events.RAISE | _events.PY_UNWIND


class _Watched(NamedTuple):
    """What is watched in one code object; `lines` is `None` for all of them."""

    code: CodeType
    lines: frozenset[int] | None
    events: int


class Monitor:
    """The one monitoring tool that serves all watchers."""

    def __init__(self) -> None:
        self._tool: int | None = None
        # Modules lose their names while code still runs.
        self._is_finalizing = sys.is_finalizing
        self._watchers: list[Watcher] = []
        # Code objects compare by value, so they are told apart by their identity.
        self._met: dict[str, WeakValueDictionary[int, CodeType]] = {}
        self._watched: dict[int, _Watched] = {}
        self._followed: set[int] = set()
        # Those that are not paused.
        self._active: list[Watcher] = []
        self._conditions = Conditions(self._change, self._expect_stop)
        # How often breakpoints have changed.
        self._changes = 0
        # How many threads are about to jump in a code object.
        self._jumping: dict[int, int] = {}

    def join(self, watcher: Watcher) -> str | None:
        """Add a watcher; the first one gets the tool."""
        if self._tool is None:
            tool = next((tool for tool in _TOOLS if _monitoring.get_tool(tool) is None), None)
            if tool is None:
                return "every monitoring tool is in use: free one, then integrate again"
            _monitoring.use_tool_id(tool, _TOOL)
            self._tool = tool
            callbacks: dict[int, Callable[..., object]] = {
                _events.PY_START: self._at_call,
                _events.PY_RESUME: self._at_call,
                _events.LINE: self._at_line,
                _events.JUMP: self._at_jump,
                _events.PY_RETURN: self._at_return,
                _events.PY_YIELD: self._at_return,
                _events.PY_UNWIND: self._at_unwind,
                _events.RAISE: self._at_exception,
                _events.STOP_ITERATION: self._at_exception,
                _events.INSTRUCTION: self._at_instruction,
            }
            for event, callback in callbacks.items():
                _monitoring.register_callback(tool, event, callback)
        taken = {watcher.mark for watcher in self._watchers}
        if watcher.known_condition:
            watcher.mark = next((mark for mark in _MARKS if mark not in taken), 0)
        self._watchers.append(watcher)
        return None

    def leave(self, watcher: Watcher) -> None:
        """Forget a watcher; the last one gives the tool back."""
        self.pause(watcher)
        self._watchers.remove(watcher)
        if self._watchers or self._tool is None:
            files = {watcher.canonic(name) for name in self._met}
            self.change(watcher, files | self._conditions.files())
            return
        for file in self._conditions.files():
            self._conditions.follow((), file)
        for event in (*_bits(_FRAME), *_bits(_RAISES), _events.INSTRUCTION):
            _monitoring.register_callback(self._tool, event, None)
        _monitoring.free_tool_id(self._tool)
        self._tool = None
        self._met.clear()
        self._watched.clear()
        self._followed.clear()

    def change(self, watcher: Watcher, files: set[str]) -> None:
        """Watch other lines in the code of these files."""
        self._changes += 1
        for file in files:
            self._conditions.follow(self._watchers, file)
        # A call that has switched itself off comes back when nothing asks for it any more.
        observed = 0 if self._tool is None else _monitoring.get_events(self._tool)
        self._observe(0)
        for name, codes in list(self._met.items()):
            if watcher.canonic(name) in files:
                for code in list(codes.values()):
                    self._arm(code)
        self._observe(observed)

    def pause(self, watcher: Watcher) -> None:
        """Tell a watcher nothing more, while it traces."""
        # One that is told by both would be told of the same line twice.
        if watcher in self._active:
            self._active.remove(watcher)
            if not self._active:
                self._observe(0)
                for watched in self._watched.values():
                    self._switch(watched.code, 0)

    def enter(self, watcher: Watcher, frame: FrameType) -> Reach:
        """Follow the frames of this stack that have a trace function, if one is waited for."""
        if not self._active:
            for watched in self._watched.values():
                self._switch(watched.code, watched.events)
        if watcher not in self._active:
            self._active.append(watcher)
        # A generator that is followed may be suspended now.
        before = set() if watcher.waits_for_frame else self._followed
        self._followed -= before
        codes = []
        caller: FrameType | None = frame
        while caller is not None:
            code = caller.f_code
            if watcher.waits_for_frame and caller.f_trace is not None:
                self._followed.add(id(code))
                codes.append(code)
            elif not self._has_met(code):
                codes.append(code)
            caller = caller.f_back
        for code in codes:
            self._meet(code)
        for address in before:
            self._arm(self._watched[address].code)
        self._observe(_CALLS | _RAISES if watcher.waits_for_frame else _CALLS)
        return Reach.EVERYTHING

    def leaves_out(self, watcher: Watcher, frame: FrameType) -> bool:
        """Tell that no frame is: events are for all frames that run a code object."""
        del watcher, frame
        return False

    def stop(self, watcher: Watcher, frame: FrameType) -> None:
        """Tell a watcher of the line; this is a line event already."""
        watcher.at_event(frame, "line", None)

    def go_on(self, frame: FrameType) -> None:
        """Have the pass left out that begins where the watcher was told of the line."""
        if self._conditions:
            _engine.leave_out_pass(frame)

    def is_evaluating(self, frame: FrameType) -> bool:
        """Tell whether a frame runs for a condition that is evaluated in a line."""
        return self._conditions.is_evaluating(frame)

    def saved(self, watcher: Watcher) -> int:
        """Count the passes at which a condition was false in the line."""
        return self._conditions.saved(watcher)

    def _change(self, file: str) -> None:
        for watcher in self._watchers[:1]:
            self.change(watcher, {file})

    def _expect_stop(self, due: Due) -> None:
        # Whatever the location of the jump has answered before, it sends an event again.
        code = due.frame.f_code
        thread.due = due
        self._jumping[id(code)] = self._jumping.get(id(code), 0) + 1
        self._switch(code, 0)
        self._switch(code, self._events_of(code) | _events.JUMP)

    def _stop_due(self, due: Due) -> None:
        thread.due = None
        code = due.frame.f_code
        jumping = self._jumping.pop(id(code), 1) - 1
        if jumping > 0:
            self._jumping[id(code)] = jumping
        else:
            self._switch(code, self._events_of(code))
        owner = thread.owner
        if owner is not None:
            self._tell_at_jump(code, lambda: owner.at_due(due))

    def _tell_at_jump(self, code: CodeType, tell: Callable[[], None]) -> None:
        """Carry out an event of a jump, and have what it raises raised where the jump leads.

        At the jump itself, 3.12 and 3.13 look for a handler at an address that is none.
        """
        try:
            tell()
        except BaseException as error:
            if self._tool is None:
                raise
            thread.raised = error
            self._switch(code, self._events_of(code) | _events.INSTRUCTION)

    def _at_instruction(self, code: CodeType, _offset: int) -> None:
        error, thread.raised = thread.raised, None
        if error is not None:
            self._switch(code, self._events_of(code))
            raise error

    def _events_of(self, code: CodeType) -> int:
        watched = self._watched.get(id(code))
        return watched.events if watched is not None and self._active else 0

    def _observe(self, events: int) -> None:
        if self._tool is not None and _monitoring.get_events(self._tool) != events:
            _monitoring.set_events(self._tool, events)

    def _switch(self, code: CodeType, events: int) -> None:
        if self._tool is not None:
            _monitoring.set_local_events(self._tool, code, events)

    def _has_met(self, code: CodeType) -> bool:
        return id(code) in self._met.get(code.co_filename, ())

    def _meet(self, code: CodeType) -> None:
        codes = self._met.get(code.co_filename)
        if codes is None:
            codes = self._met.setdefault(code.co_filename, WeakValueDictionary())
        if self._conditions:
            self._conditions.meet(code, self._watchers[0].canonic(code.co_filename))
        changes = None
        # Another thread takes code for met as soon as it is among the others, and may change them.
        while changes != self._changes:
            changes = self._changes
            self._arm(code)
            codes[id(code)] = code

    def _arm(self, code: CodeType) -> None:
        lines: frozenset[int] | None = frozenset()
        calls = False
        for watcher in self._watchers:
            wanted = watcher.lines_in(code)
            lines = None if lines is None or wanted is None else lines | wanted
            calls = calls or watcher.calls_in(code)
        if self._conditions and lines != frozenset():
            file = self._watchers[0].canonic(code.co_filename)
            served = self._conditions.take_over(code, file, lines)
            lines = lines if lines is None else lines - served
        events = _LINES if lines is None or lines else 0
        if calls:
            events |= _CALLS | _events.STOP_ITERATION
        if id(code) in self._followed:
            events |= _FRAME
        before = self._watched.get(id(code))
        # At no moment is it missing: another thread would switch off what it is told of.
        if events:
            self._watched[id(code)] = _Watched(code, lines, events)
        else:
            self._watched.pop(id(code), None)
        if events and (before is None or before[1:] != (lines, events)):
            # Events that were taken away come back with their locations switched on.
            self._switch(code, 0)
        elif before is not None and not events:
            self._switch(code, 0)
        if events and self._active:
            self._switch(code, events)

    def _at_call(self, code: CodeType, _offset: int) -> object:
        if self._is_finalizing():
            return _DISABLE
        if not self._has_met(code):
            self._meet(code)
        watched = self._watched.get(id(code))
        if watched is None or not watched.events & _CALLS:
            return _DISABLE
        owner = thread.owner
        if owner is not None:
            frame = sys._getframe(1)  # noqa: SLF001 - the documented name
            # A followed frame is resumed, or was sent back to its first line.
            followed = owner.waits_for_frame and frame.f_trace is not None
            if followed or owner.calls_in(code):
                owner.at_event(frame, "call", None)
        return None

    def _at_line(self, code: CodeType, line: int) -> object:
        watched = self._watched.get(id(code))
        if watched is None:
            return _DISABLE
        wanted = watched.lines is None or line in watched.lines
        if not wanted and not watched.events & _events.PY_RETURN:
            return _DISABLE
        owner = thread.owner
        if owner is not None:
            frame = sys._getframe(1)  # noqa: SLF001
            owner.at_line(frame, wanted=wanted)
            if wanted and self._conditions.serves(owner.canonic(code.co_filename), line):
                # Seen to here, whether or not another thread has its probes act by now.
                _engine.leave_out_pass(frame)
            if watched.lines is None:
                # The first line of a function may be known now.
                self._arm(code)
        return None

    def _at_jump(self, code: CodeType, source: int, target: int) -> object:
        due = thread.due
        if due is not None and due.frame is sys._getframe(1):  # noqa: SLF001
            self._stop_due(due)
            return None
        # A jump back within a line begins the line again; every other one gets a line event.
        line = _line_at(code, target)
        if target > source or line is None or line != _line_at(code, source):
            return _DISABLE
        watched = self._watched.get(id(code))
        if watched is None:
            return _DISABLE
        wanted = watched.lines is None or line in watched.lines
        if not wanted and not watched.events & _events.PY_RETURN:
            return _DISABLE
        owner = thread.owner
        if owner is not None:
            frame = sys._getframe(1)  # noqa: SLF001
            self._tell_at_jump(code, lambda: owner.at_line(frame, wanted=wanted))
        return None

    def _at_return(self, _code: CodeType, _offset: int, value: object) -> None:
        self._tell("return", value)

    def _at_unwind(self, _code: CodeType, _offset: int, _error: BaseException) -> None:
        self._tell("return", None)

    def _at_exception(self, _code: CodeType, _offset: int, error: BaseException) -> None:
        self._tell("exception", (type(error), error, error.__traceback__))

    def _tell(self, event: str, arg: object) -> None:
        owner = thread.owner
        if owner is not None and owner.waits_for_frame:
            frame = sys._getframe(2)  # noqa: SLF001
            if frame.f_trace is not None:
                owner.at_event(frame, event, arg)


def _bits(events: int) -> list[int]:
    return [1 << bit for bit in range(events.bit_length()) if events >> bit & 1]


@lru_cache(maxsize=256)
def _line_starts(code: CodeType) -> tuple[list[int], list[int | None]]:
    starts, lines = [], []
    for start, _, line in code.co_lines():
        starts.append(start)
        lines.append(line)
    return starts, lines


def _line_at(code: CodeType, offset: int) -> int | None:
    starts, lines = _line_starts(code)
    return lines[bisect_right(starts, offset) - 1]
