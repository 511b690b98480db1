"""What the oracle tests share: one store for all runs, and a tally of what was compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.oracle.runs import Tally


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the runs use as their store of variants."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts what the tests compared, and says it at the end of the session."""
    tally = Tally()
    yield tally
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        reporter.write_line(f"oracle {version}: {tally}")
