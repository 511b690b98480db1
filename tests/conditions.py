"""Breakpoints with conditions in a module of a test's own, in every tier."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from tests.launch import write

import dapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

__all__ = ["TIERS", "Program"]

TIERS = ("import", "bound", "entry", "tracing")


class Program:
    """A module that is loaded and armed in the way that the tier says."""

    def __init__(self, folder: Path, source: str, tier: str) -> None:
        self.name = f"program_{folder.name}"
        self.file = folder / f"{self.name}.py"
        self.source = source
        self.tier = tier
        self.seen: list[dapper.Hit] = []
        self.points: list[dapper.Breakpoint] = []
        write(folder, **{self.name: source})
        importlib.invalidate_caches()

    def line(self, mark: str = "here") -> int:
        """Return the line that ends with `# mark`."""
        lines = self.source.splitlines()
        return next(n for n, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))

    def add(self, condition: str | None = None, mark: str = "here", **terms: Any) -> None:
        """Ask for a breakpoint at the marked line."""
        if terms.get("kind", "stop") == "stop" and "log_message" not in terms:
            terms.setdefault("on_hit", self.on_hit)
        line = self.line(mark)
        self.points.append(dapper.add_breakpoint(self.file, line, condition=condition, **terms))

    def on_hit(self, hit: dapper.Hit) -> None:
        """Note a hit."""
        self.seen.append(hit)

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(self.name)

    def run(
        self, call: Callable[[Any], object], condition: str | None = None, **terms: Any
    ) -> object:
        """Arm the marked line, call something in the module, and check the tier."""
        if self.tier == "import":
            self.add(condition, **terms)
            module = self.load()
        else:
            module = self.load()
            self.add(condition, **terms)
        result = call(module)
        assert {point.tier for point in self.points} == {self.tier}
        return result

    @staticmethod
    def config(folder: Path, tier: str, **options: Any) -> dapper.Config:
        """Return the configuration by which a loaded module is reached in this tier."""
        if tier == "tracing":
            options["backend"] = "sys_monitoring" if hasattr(sys, "monitoring") else "settrace"
        options.setdefault("measure", True)
        return dapper.Config(cache_dir=folder / "store", promotion=tier != "entry", **options)
