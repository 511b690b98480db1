"""Programs whose breakpoints stand at functions and columns, in every tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conditions import Program

import dapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["Armed"]


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
