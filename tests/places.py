"""Programs whose breakpoints stand at functions and columns, in every tier."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tests.conditions import Program

import dapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    import pytest

__all__ = ["Armed", "programs"]


class Armed(Program):
    """A program whose breakpoints stand at places of any kind."""

    def functions(self, pattern: str, **terms: Any) -> dapper.Breakpoint:
        """Ask for a breakpoint on functions of this module."""
        if terms.get("kind", "stop") == "stop" and "log_message" not in terms:
            terms.setdefault("on_hit", self.on_hit)
        point = dapper.add_function_breakpoint(f"{self.name}:{pattern}", **terms)
        self.points.append(point)
        return point

    def after(self, arm: Callable[[], object]) -> ModuleType:
        """Arm before or after the module is imported, as the tier says."""
        if self.tier == "import":
            arm()
            return self.load()
        module = self.load()
        arm()
        return module

    def lines_hit(self) -> list[tuple[str, int]]:
        """Return the function and line of each hit."""
        return [(hit.function, hit.line) for hit in self.seen]


def programs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tier: str, usual: str
) -> Iterator[Callable[..., Armed]]:
    """Yield what makes programs of a source, `usual` if none is given; ends them afterwards."""
    monkeypatch.syspath_prepend(folder)
    made = []

    def make(source: str = usual) -> Armed:
        dapper.start(Program.config(folder, tier))
        made.append(Armed(folder, source, tier))
        return made[0]

    yield make
    dapper.stop()
    for one in made:
        sys.modules.pop(one.name, None)
