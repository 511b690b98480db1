"""One suite of another project as part of every test run; `make suites` runs them all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.suites.run import compare, read_suites

pytestmark = pytest.mark.once


def test_same_tests_pass_with_a_probe_on_every_line(pythons: dict[str, Path]) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    _, suites = read_suites()
    assert compare(suites["click"], pythons[version], version) == []
