"""A pytest plugin: writes the outcome of every test, and how often probes were hit, to a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

Outcomes = dict[str, dict[str, str]]
OUTCOMES: Outcomes = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    expected = ", expected to fail" if hasattr(report, "wasxfail") else ""
    OUTCOMES.setdefault(report.nodeid, {})[report.when] = f"{report.outcome}{expected}"


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        OUTCOMES[report.nodeid] = {"collect": str(report.longrepr)}


def pytest_sessionfinish(session: pytest.Session) -> None:
    result: dict[str, Any] = {"outcomes": OUTCOMES, "lines": 0, "hits": 0, "tiers": []}
    dapper = sys.modules.get("dapper")
    if dapper is not None:
        hit = [point for point in dapper.breakpoints() if point.hits]
        result["lines"] = len(hit)
        result["hits"] = sum(point.hits for point in hit)
        result["tiers"] = sorted({str(point.tier) for point in hit})
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(result))
