"""Counts with names, read as attributes or as keys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView

__all__ = ["Figures"]


class Figures(SimpleNamespace):
    """A snapshot of counts: `figures.name` and `figures["name"]` are the same figure."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(**(counts or {}))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

    def __getitem__(self, name: str) -> int:
        return self._counts()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts())

    def __len__(self) -> int:
        return len(self._counts())

    def __contains__(self, name: object) -> bool:
        return name in self._counts()

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._counts().keys()

    def values(self) -> ValuesView[int]:
        """Return the counts, in the order of the names."""
        return self._counts().values()

    def items(self) -> ItemsView[str, int]:
        """Return names with their counts."""
        return self._counts().items()

    def get(self, name: str, default: int | None = None) -> int | None:
        """Return the count of that name, or `default`."""
        return self._counts().get(name, default)

    def _counts(self) -> dict[str, int]:
        return vars(self)
