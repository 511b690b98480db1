"""A pytest plugin: writes the outcome of every test to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

OUTCOMES: dict[str, dict[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    expected = ", expected to fail" if hasattr(report, "wasxfail") else ""
    OUTCOMES.setdefault(report.nodeid, {})[report.when] = f"{report.outcome}{expected}"


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        OUTCOMES[report.nodeid] = {"collect": str(report.longrepr)}


def pytest_sessionfinish(session: pytest.Session) -> None:
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(OUTCOMES))
