"""Any debugger made from `bdb.Bdb`, without tracing between its stops.

A `Bdb` that runs until a breakpoint leaves `sys.settrace` on, because it has breakpoints. With an
`Integration` it does not: `trace_dispatch` is replaced on the instance, and each time the debugger
has decided how to go on, what it decided is read from its stop information:

- it wants every event (`step`): tracing is on, exactly as without the integration;
- it waits for one frame (`next`, `until`, `return`): only that frame and its callers are followed;
- it waits for breakpoints (`continue`): only the lines of breakpoints are watched.

In the last two the watch gives the debugger the events that `sys.settrace` would have given it, but
for those that no debugger shows: the lines and calls of frames in which it would not have stopped.
Conditions, hit counts, ignore counts and temporary breakpoints are looked at when a breakpoint's
line is reached; from 3.12 on most conditions are evaluated in the line itself, and only those that
hold or fail come here (`bdb_compiled`). Which frames have a trace function is kept as `Bdb` keeps
it, so that the commands mean the same.

What differs on purpose: `sys.gettrace()` is `None` between stops; a breakpoint that is set in the
middle of a function is also hit in calls of it that were going on already; an interrupt stops in
the program and never in `bdb`; `set_trace` in a program that is being debugged stops at the line
after it; and a `BdbQuit` that reaches the user shows a line of this file in its traceback. Up to
3.11 a `yield from` or `await` that began before tracing did ends without its StopIteration.
"""

from __future__ import annotations

import bdb
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from dapper import bdb_watch
from dapper.bdb_condition import holds
from dapper.bdb_watch import Due, Reach, thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    _Trace = Callable[[FrameType, str, Any], Any]

__all__ = ["Integration", "Mode", "integrate", "integration_of", "release"]

# What a debugger that sees every event may do with each of them cannot be known.
_SEES_EVERY_EVENT = (
    "trace_dispatch",
    "dispatch_line",
    "dispatch_call",
    "dispatch_return",
    "dispatch_exception",
)
# These change what is watched; the others are followed at the end of each stop.
_CHANGES_BREAKS = (
    "set_break",
    "clear_break",
    "clear_bpbynumber",
    "clear_all_file_breaks",
    "clear_all_breaks",
)
# `runctx` calls `run`.
_RUN = ("run", "runeval", "runcall")
_NOTHING: frozenset[int] = frozenset()


class Mode(Enum):
    """What a debugger waits for."""

    OFF = "nothing"
    EVENT = "the next event"
    FRAME = "one frame, or a breakpoint"
    BREAKPOINT = "a breakpoint"


class Integration:
    """One debugger that is watched for instead of traced."""

    def __init__(self, debugger: bdb.Bdb) -> None:
        self.debugger = debugger
        self.mode = Mode.OFF
        self.reason = _refusal(debugger)
        self.stops = 0
        self.trace_calls_saved = 0
        self.errors_handled = 0
        self.wants_calls = _wants_calls(debugger)
        # A bound method is a new object each time; this one is compared by identity.
        self.dispatch: _Trace = self._dispatch
        self._trace_dispatch: Callable[..., Any] = debugger.trace_dispatch
        self._break_here = debugger.break_here
        self._break_anywhere = debugger.break_anywhere
        self.known_condition = type(debugger).break_here is bdb.Bdb.break_here
        self.mark = 0
        self._stopping: FrameType | None = None
        # The breakpoints are others than when the watch was entered.
        self._is_changed = False
        self.told: tuple[FrameType, int, int] | None = None
        self._is_entered = False
        self.reach = Reach.NOTHING
        # Calls of code in files with breakpoints are told, as `wants_calls` or the mode asks.
        self.follows_calls = self.wants_calls
        self._names: dict[str, str] = {}
        self._followed: dict[str, tuple[int, ...]] = {}
        # What decides how their lines are watched.
        self._points: dict[str, list[tuple[object, ...]]] = {}
        self._replaced: list[str] = []
        self._backend: object = None
        if self.reason is None:
            self._watch = bdb_watch.watch()
            self.reason = self._watch.join(self)
        if self.reason is None:
            self._take_over()

    @property
    def waits_for_frame(self) -> bool:
        """Whether frames with a trace function are to be followed beside the breakpoints."""
        return self.mode is Mode.FRAME

    def release(self) -> None:
        """Give the debugger back what was replaced; it goes on by tracing."""
        if self._replaced:
            attributes = vars(self.debugger)
            for name in self._replaced:
                attributes.pop(name, None)
            self._replaced.clear()
            if self._backend is not None:
                attributes.update(backend="monitoring", monitoring_tracer=self._backend)
            self._watch.leave(self)
            if thread.owner is self:
                thread.own(None)
                if not self.debugger.quitting:
                    sys.settrace(self.debugger.trace_dispatch)

    def statistics(self) -> dict[str, int]:
        """Count what was seen and what was not."""
        breaks = self.debugger.breaks.values() if self._replaced else ()
        saved = self._watch.saved(self) if self._replaced else 0
        return {
            "breakpoints_optimized": sum(map(len, breaks)),
            "stops": self.stops,
            "trace_calls_saved": self.trace_calls_saved + saved,
            "errors_handled": self.errors_handled,
        }

    def lines_of(self, file: str) -> set[int]:
        """Return the lines of this file that hold a breakpoint."""
        return set(self._followed.get(file, ()))

    def functions_in(self, file: str) -> set[tuple[int, str]]:
        """Return the functions with a breakpoint, by the line of their `def` and their name."""
        return {
            (line, point.funcname)
            for line in self._followed.get(file, ())
            for point in bdb.Breakpoint.bplist.get((file, line), ())
            if point.funcname
        }

    def lines_in(self, code: CodeType) -> frozenset[int] | None:
        """Return the lines of this code at which a breakpoint may be hit; `None` is all of them."""
        file = self.canonic(code.co_filename)
        lines = self._followed.get(file)
        if lines is None:
            return _NOTHING
        wanted = {line for _, _, line in code.co_lines() if line in lines}
        # A breakpoint of a function stands on its `def`, and is hit at its first line.
        if code.co_firstlineno in lines:
            for point in bdb.Breakpoint.bplist.get((file, code.co_firstlineno), ()):
                if point.funcname == code.co_name:
                    if not point.func_first_executable_line:
                        return None
                    wanted.add(point.func_first_executable_line)
        return frozenset(wanted)

    def calls_in(self, code: CodeType) -> bool:
        """Tell whether the debugger may be told of calls of this code."""
        return self.follows_calls and self.canonic(code.co_filename) in self._followed

    def canonic(self, file: str) -> str:
        """Return the name by which breakpoints know a file."""
        known = self._names.get(file)
        if known is None:
            known = self._names[file] = str(self.debugger.canonic(file))
        return known

    def at_line(self, frame: FrameType, *, wanted: bool) -> None:
        """Carry out a line event of a watched thread; `wanted` tells of a breakpoint there."""
        if not self._is_watching():
            return
        if self.mode is Mode.FRAME and frame.f_trace is not None and self.debugger.stop_here(frame):
            self.at_event(frame, "line", None)
        elif wanted and not self._is_called_for_condition(frame):
            hit = self._is_hit(frame)
            bdb_watch.store_locals(frame)
            if hit:
                self._stop(frame)
            else:
                self.trace_calls_saved += 1

    def at_due(self, due: Due) -> None:
        """Stop at a breakpoint whose condition held or failed in the line."""
        if self._is_watching():
            self._reach(due)
            bdb_watch.store_locals(due.frame)
            self._stop(due.frame)

    def at_event(self, frame: FrameType, event: str, arg: object) -> None:
        """Give a watched frame's trace function an event, as the interpreter does."""
        if not self._is_watching():
            return
        trace = self.dispatch if event == "call" else frame.f_trace
        if trace is None:
            return
        # A trace function that fails is not called again.
        local: _Trace | None = None
        keeps = False
        try:
            local = trace(frame, event, arg)
            keeps = True
        finally:
            bdb_watch.store_locals(frame)
            if local is not None or not keeps:
                frame.f_trace = local

    def follow(self) -> None:
        """Watch the lines that hold breakpoints now."""
        breaks = {file: tuple(lines) for file, lines in self.debugger.breaks.copy().items()}
        before, self._followed = self._followed, breaks
        points, self._points = self._points, {file: _points(file, breaks[file]) for file in breaks}
        changed = {
            file
            for file in {*before, *breaks}
            if before.get(file) != breaks.get(file) or points.get(file) != self._points.get(file)
        }
        if changed:
            self._is_changed = True
            self._watch.change(self, changed)
            if thread.owner is self and sys.gettrace() in (None, self.dispatch):
                self._trace_what_is_left_out(sys._getframe())  # noqa: SLF001

    def _trace_what_is_left_out(self, frame: FrameType) -> None:
        """Go on by tracing, if the program's own change of a breakpoint needs it."""
        if self._watch.leaves_out(self, frame):
            thread.own(None)
            self._pause()
            sys.settrace(self.dispatch)
            self._trace_callers(frame)

    def _take_over(self) -> None:
        attributes = vars(self.debugger)
        tracer = attributes.get("monitoring_tracer")
        if tracer is not None:
            self._backend = tracer
            attributes.update(backend="settrace", monitoring_tracer=None)
        replaced: dict[str, object] = {
            name: self._following(getattr(self.debugger, name)) for name in _CHANGES_BREAKS
        }
        replaced.update({name: self._running(getattr(self.debugger, name)) for name in _RUN})
        replaced.update(
            trace_dispatch=self.dispatch,
            break_here=self._break_here_once,
            break_anywhere=self._break_anywhere_unreached,
            set_trace=self._set_trace,
        )
        attributes.update(replaced)
        attributes["_dapper_integration"] = self
        self._replaced = [*replaced, "_dapper_integration"]
        self.follow()

    def _set_trace(self, frame: FrameType | None = None, **options: object) -> object:
        # Called by the program or by a signal: what goes on is traced from here.
        thread.own(None)
        self._pause()
        caller = sys._getframe(1)  # noqa: SLF001 - the documented name
        start: Callable[..., object] = type(self.debugger).set_trace
        return start(self.debugger, frame or caller, **options)

    def _following(self, change: Callable[..., object]) -> Callable[..., object]:
        def changed(*args: object, **kwargs: object) -> object:
            try:
                return change(*args, **kwargs)
            finally:
                self.follow()

        return changed

    def _dispatch(self, frame: FrameType, event: str, arg: object) -> _Trace | None:
        if event == "call" and self.reach is Reach.BREAKPOINTS and frame.f_trace is None:
            debugger: Any = self.debugger
            # Not the first call of another run.
            if debugger.stopframe is not None and not debugger.quitting:
                return None
        if event in ("call", "exception") and self._watch.is_evaluating(frame):
            # What a condition calls and raises is not the program's.
            return frame.f_trace
        thread.own(None)
        goes_on = False
        try:
            local: _Trace | None = self._trace_dispatch(frame, event, arg)
            goes_on = True
        finally:
            if not goes_on:
                self._pause()
            if self._stopping is frame:
                self._stopping = None
        if self._replaced:
            self._go_on(frame, event, local)
        return local

    def _running(self, run: Callable[..., object]) -> Callable[..., object]:
        def ran(*args: object, **kwargs: object) -> object:
            try:
                return run(*args, **kwargs)
            except BaseException as error:
                # Who looks at the traceback does not expect this frame; a bare `raise` adds none.
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
                raise
            finally:
                if thread.owner is self:
                    thread.own(None)
                self._pause()

        return ran

    def _go_on(self, frame: FrameType, event: str, local: _Trace | None) -> None:
        before, self.mode = self.mode, self._mode()
        if self.mode is Mode.EVENT or self.mode is Mode.OFF:
            self._pause()
            if self.mode is Mode.EVENT and sys.gettrace() is not self.dispatch:
                sys.settrace(self.dispatch)
            return
        traced = sys.gettrace() is self.dispatch
        if not traced or self._is_changed or self.mode is not before or event == "return":
            self.follow()
            self._follow_calls()
            # What the interpreter does with it when this returns is too late for the watch.
            if local is not None:
                frame.f_trace = local
            self._is_changed = False
            self._is_entered = True
            self.reach = self._watch.enter(self, frame)
        if self.reach is not Reach.EVERYTHING:
            if not traced:
                sys.settrace(self.dispatch)
        elif traced:
            sys.settrace(None)
        if self.reach is not Reach.NOTHING:
            self.told = (frame, frame.f_lineno, frame.f_lasti) if event == "line" else None
            thread.own(self)
            self._watch.go_on(frame)

    def _follow_calls(self) -> None:
        # While a generator is waited for, any frame that would be traced may end an iteration.
        stopframe = vars(self.debugger)["stopframe"]
        waits_for_generator = (
            self.mode is Mode.FRAME
            and stopframe is not None
            and bool(stopframe.f_code.co_flags & bdb.GENERATOR_AND_COROUTINE_FLAGS)
        )
        follows = self.wants_calls or waits_for_generator
        if follows is not self.follows_calls:
            self.follows_calls = follows
            self._watch.change(self, set(self._followed))

    def _pause(self) -> None:
        if self._is_entered:
            self._is_entered = False
            self.reach = Reach.NOTHING
            self._watch.pause(self)

    def _mode(self) -> Mode:
        debugger: Any = self.debugger
        if debugger.quitting:
            return Mode.OFF
        if debugger.stopframe is None:
            return Mode.EVENT
        continues = (
            debugger.stoplineno == -1
            and debugger.returnframe is None
            and debugger.stopframe is debugger.botframe
        )
        if not continues:
            return Mode.FRAME
        return Mode.BREAKPOINT if debugger.breaks else Mode.OFF

    def _is_watching(self) -> bool:
        # Whoever has set a trace function since then, this debugger by a signal or another one,
        # has taken the thread over; a debugger that is quitting has let it go.
        if sys.gettrace() is None and not self.debugger.quitting:
            return True
        thread.own(None)
        return False

    def _trace_callers(self, frame: FrameType) -> None:
        """Give a trace function to the callers that would have got one when they were called."""
        debugger: Any = self.debugger
        caller = frame.f_back
        while caller is not None and caller is not debugger.botframe:
            if caller.f_trace is None and self._break_anywhere(caller):
                caller.f_trace = self.dispatch
            caller = caller.f_back

    def _break_here_once(self, frame: FrameType) -> bool:
        """Stand in for `break_here`, which counts: a hit that was counted is not counted again."""
        return self._stopping is frame or bool(self._break_here(frame))

    def _break_anywhere_unreached(self, frame: FrameType) -> bool:
        """Stand in for `break_anywhere`: no frame is traced for what the watch reaches."""
        return self.reach is not Reach.BREAKPOINTS and bool(self._break_anywhere(frame))

    def _is_called_for_condition(self, frame: FrameType) -> bool:
        # The frame itself begins its line, and may be about to evaluate something in it.
        caller = frame.f_back
        return caller is not None and self._watch.is_evaluating(caller)

    def _is_hit(self, frame: FrameType) -> bool:
        """Do what `break_here` does, with conditions that are compiled once."""
        debugger: Any = self.debugger
        if not self.known_condition:
            self._trace_callers(frame)
            return bool(self._break_here(frame))
        file = self.canonic(frame.f_code.co_filename)
        lines = debugger.breaks.get(file, ())
        line = frame.f_lineno if frame.f_lineno in lines else frame.f_code.co_firstlineno
        if line not in lines:
            return False
        for point in bdb.Breakpoint.bplist[file, line]:
            if not (point.enabled and bdb.checkfuncname(point, frame)):
                continue
            point.hits += 1
            held = not point.cond or holds(point.cond, frame)
            if held is False:
                continue
            failed = held is None
            if point.ignore > 0 and not failed:
                point.ignore -= 1
                continue
            self._reach(Due(frame, point, failed))
            return True
        return False

    def _reach(self, due: Due) -> None:
        """Do what `break_here` does for the breakpoint at which it stops."""
        debugger: Any = self.debugger
        frame, point, failed = due
        self.errors_handled += failed
        # While a breakpoint that is about to be deleted still counts.
        self._trace_callers(frame)
        debugger.currentbp = point.number
        if point.temporary and not failed:
            debugger.do_clear(str(point.number))

    def _stop(self, frame: FrameType) -> None:
        self.stops += 1
        self._stopping = frame
        frame.f_trace = self.dispatch
        self._watch.stop(self, frame)


def integrate(debugger: bdb.Bdb) -> Integration:
    """Have a debugger watched for instead of traced; `Integration.reason` tells when it cannot."""
    return integration_of(debugger) or Integration(debugger)


def release(debugger: bdb.Bdb) -> None:
    """Take back what `integrate` did."""
    integration = integration_of(debugger)
    if integration is not None:
        integration.release()


def integration_of(debugger: bdb.Bdb) -> Integration | None:
    """Return the integration of a debugger that has one."""
    found = vars(debugger).get("_dapper_integration")
    return found if isinstance(found, Integration) else None


def _points(file: str, lines: tuple[int, ...]) -> list[tuple[object, ...]]:
    all_points = bdb.Breakpoint.bplist
    return [
        (line, point.number, point.cond, point.enabled, point.funcname)
        for line in lines
        for point in all_points.get((file, line), ())
    ]


def _wants_calls(debugger: bdb.Bdb) -> bool:
    bases = [bdb.Bdb]
    # Nobody derives from a class that is not imported, and to import it takes time.
    if "pdb" in sys.modules:
        bases.append(sys.modules["pdb"].Pdb)
    return all(type(debugger).user_call is not base.user_call for base in bases)


def _refusal(debugger: bdb.Bdb) -> str | None:
    for name in _SEES_EVERY_EVENT:
        if getattr(type(debugger), name) is not getattr(bdb.Bdb, name):
            return f"{type(debugger).__name__} sees every event: it has a {name} of its own"
    tracer = getattr(debugger, "monitoring_tracer", None)
    if tracer is not None and tracer._enabled:  # noqa: SLF001 - bdb has no public name for it
        return "the debugger is monitoring already: integrate it before it starts"
    return None
