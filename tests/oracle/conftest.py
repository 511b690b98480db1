"""What the oracle tests share: one store for all runs, and a tally of what was compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.oracle.runs import Tally

TALLY = pytest.StashKey[Tally]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    tally = config.stash.get(TALLY, None)
    if tally is not None and tally.programs:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        terminalreporter.write_line(f"oracle {version}: {tally}")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the runs use as their store of variants."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what the tests compared; the closing lines say it."""
    return request.config.stash.setdefault(TALLY, Tally())
