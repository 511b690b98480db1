"""The compiled fixtures belong to their sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once


def test_compiled_fixtures_are_current(repository: Path, pythons: dict[str, Path]):
    script = repository / "fixtures" / "pyc" / "regenerate.py"
    checked = subprocess.run(
        [sys.executable, script, "--check", *pythons.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
