"""Fixtures that every test may use: the interpreters of the matrix and the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return ROOT


@pytest.fixture(scope="session")
def pythons() -> dict[str, Path]:
    """The interpreters found on this machine, by version: the plain ones, not the environments."""
    record = json.loads((ROOT / "build" / "pythons.json").read_text())
    return {version: Path(path) for version, path in record["found"].items()}
