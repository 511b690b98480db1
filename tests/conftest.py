"""Fixtures that every test may use: the interpreters of the matrix and the repository."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    """Close what a test that failed has left open, so that no other test is blamed for it."""
    yield
    clients = sys.modules.get("tests.dap_client")
    for client in list(clients.OPEN) if clients else []:
        client.close()
