"""Breakpoints whose conditions are compiled into their lines, for the debuggers of this process.

A line event costs microseconds, and the line of a breakpoint with a condition is mostly passed in
vain. Where the condition means the same in the line as to `eval` in the frame, the engine compiles
it in, counts the passes, and calls when it held or failed: until then a pass costs a probe and the
test itself. Such a breakpoint stays the object that it is, but for its class while it lasts: `hits`
adds what the engine has counted, and what is assigned to its attributes counts from then on.

All else is left to line events: a line with several breakpoints, conditions with side effects or
with a scope of their own, and code that the engine has not got into.
"""

from __future__ import annotations

import ast
import bdb
import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dapper import _engine, hooks
from dapper.bdb_watch import Due, thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from dapper._engine import Hit
    from dapper.bdb_watch import Watcher

__all__ = ["Conditions"]

_OPTIMIZED = 0x1
# They have scopes of their own, or bind names.
_OTHER_SCOPES = (
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.NamedExpr,
)
# They tell where they are called from.
_TELL_THEIR_PLACE = frozenset({"dir", "eval", "exec", "globals", "locals", "super", "vars"})

# The attributes of a breakpoint that decide whether it can be served, and how.
_DECIDING = frozenset({"cond", "enabled", "funcname"})


class _Wanted(NamedTuple):
    """What a line asks of the engine; what is different is asked anew."""

    point: bdb.Breakpoint
    condition: str
    owners: int


class _Served:
    """One breakpoint that the engine serves."""

    def __init__(self, conditions: Conditions, wanted: _Wanted) -> None:
        self.conditions = conditions
        self.wanted = wanted
        point, condition, owners = wanted
        add = _engine.add_owned
        self._probes = add(point.file, point.line, condition.lstrip(" \t"), owners, self._at_hit)
        vars(point)["_dapper_served"] = self
        point.__class__ = _Point

    @property
    def number(self) -> int:
        """The number of the engine's breakpoint."""
        return self._probes.id

    @property
    def passes(self) -> int:
        """How often the line was passed."""
        return self._probes.evaluations or 0

    @property
    def saved(self) -> int:
        """At how many passes nothing had to be called."""
        return self.passes - self._probes.hits - self._probes.errors

    def end(self) -> None:
        """Make the breakpoint what it was."""
        _engine.remove(self._probes)
        attributes = vars(self.wanted.point)
        del attributes["_dapper_served"]
        attributes["hits"] += self.passes
        self.wanted.point.__class__ = bdb.Breakpoint

    def _at_hit(self, hit: Hit) -> None:
        owner = thread.owner
        frame, point = hit.frame, self.wanted.point
        if owner is None or owner.canonic(frame.f_code.co_filename) != point.file:
            return
        if self.conditions.is_evaluating(frame):
            return
        failed = hit.error is not None
        if point.ignore > 0 and not failed:
            point.ignore -= 1
            return
        self.conditions.expect_stop(Due(frame, point, failed))


class _Point(bdb.Breakpoint):
    """A breakpoint while the engine serves it."""

    _dapper_served: _Served

    @property
    def hits(self) -> int:
        return cast("int", vars(self)["hits"]) + self._dapper_served.passes

    @hits.setter
    def hits(self, hits: int) -> None:
        vars(self)["hits"] = hits - self._dapper_served.passes

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _DECIDING:
            self._dapper_served.conditions.changed(self.file)


class Conditions:
    """The breakpoints that the engine serves, by file and line."""

    def __init__(self, changed: Callable[[str], None], expect_stop: Callable[[Due], None]) -> None:
        self.changed = changed
        self.expect_stop = expect_stop
        self._served: dict[str, dict[int, _Served]] = {}
        # What the engine would not have.
        self._refused: set[str] = set()
        self._has_served = False

    def __contains__(self, file: str) -> bool:
        return file in self._served

    def __bool__(self) -> bool:
        return bool(self._served)

    def serves(self, file: str, line: int) -> bool:
        """Tell whether the breakpoint of a line is served in code that carries its probe."""
        return line in self._served.get(file, ())

    def files(self) -> set[str]:
        """Return the files with breakpoints that are served."""
        return set(self._served)

    def saved(self, watcher: Watcher) -> int:
        """Count the passes of a watcher's breakpoints at which nothing had to be called."""
        all_served = (served for lines in self._served.values() for served in lines.values())
        mark = watcher.mark
        return sum(served.saved for served in all_served if served.wanted.owners & mark)

    def is_evaluating(self, frame: FrameType) -> bool:
        """Tell whether a frame, or one that has called it, evaluates a condition in its line."""
        return self._has_served and _engine.is_evaluating(frame)

    def follow(self, watchers: Iterable[Watcher], file: str) -> None:
        """Serve the breakpoints in this file that can be served now, and no others."""
        wanted = self._wanted(list(watchers), file)
        before = self._served.get(file, {})
        kept = {line: it for line, it in before.items() if wanted.get(line) == it.wanted}
        served = dict(kept)
        for line in before.keys() - kept.keys():
            before[line].end()
        for line in wanted.keys() - kept.keys():
            try:
                served[line] = _Served(self, wanted[line])
            except ValueError:
                self._refused.add(wanted[line].condition)
        if served:
            self._served[file] = served
        else:
            self._served.pop(file, None)
        if served != before:
            if served:
                self._has_served = True
                hooks.install()
            _engine.bind([file])
            if _engine.is_idle():
                hooks.uninstall()

    def meet(self, code: CodeType, file: str) -> None:
        """Have the functions that a module will make carry probes, if no import saw to it."""
        if file in self._served and code.co_name == "<module>" and not _carries_probe(code):
            _engine.bind([file])

    def take_over(self, code: CodeType, file: str, lines: frozenset[int] | None) -> frozenset[int]:
        """Have the probes in this code act that stand on these lines; return their lines."""
        served = self._served.get(file)
        if served is None:
            return frozenset()
        here = []
        if lines is not None and _means_the_same(code):
            here = [it.number for line, it in served.items() if line in lines]
        return frozenset(_engine.wake_probes(code, here))

    def _wanted(self, watchers: list[Watcher], file: str) -> dict[int, _Wanted]:
        wanted = {}
        for line in {line for watcher in watchers for line in watcher.lines_of(file)}:
            concerned = [watcher for watcher in watchers if line in watcher.lines_of(file)]
            points = bdb.Breakpoint.bplist.get((file, line), ())
            if len(points) == 1 and self._can_serve(points[0], file):
                owners = 0
                for watcher in concerned:
                    owners |= watcher.mark
                if all(watcher.mark for watcher in concerned):
                    wanted[line] = _Wanted(points[0], str(points[0].cond), owners)
        return wanted

    def _can_serve(self, point: Any, file: str) -> bool:  # noqa: ANN401 - has what anyone set
        return (
            type(point) in (bdb.Breakpoint, _Point)
            and bool(point.enabled)
            and not point.funcname
            and type(point.cond) is str
            and point.cond not in self._refused
            and _is_movable(point.cond)
            and os.path.realpath(file) == file
        )


def _is_movable(condition: str) -> bool:
    """Tell whether a condition means the same in its line as to `eval` in the frame."""
    try:
        tree = ast.parse(condition.lstrip(" \t"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, _OTHER_SCOPES):
            return False
        name = getattr(node, "id", None) or getattr(node, "attr", None)
        if isinstance(name, str) and (
            name in _TELL_THEIR_PLACE or (name.startswith("__") and not name.endswith("__"))
        ):
            return False
    return True


def _means_the_same(code: CodeType) -> bool:
    # Elsewhere `f_locals` leaves out some variables that the code itself can name.
    return bool(code.co_flags & _OPTIMIZED) or not (
        code.co_nlocals or code.co_freevars or code.co_cellvars
    )


def _carries_probe(code: CodeType) -> bool:
    return any(
        type(constant).__name__ == "Probe"
        or (isinstance(constant, type(code)) and _carries_probe(constant))
        for constant in code.co_consts
    )
