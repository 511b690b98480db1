"""The engine's promises on the standard library of every interpreter, its tests included."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest
from tests.instrument import Run, cli

__all__ = ["cli"]


@pytest.mark.parametrize("kind", ["sources", "bytecode"])
def test_every_code_object_is_proved(cli: Run, kind: str) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    leave = ["--exclude", "site-packages", "--exclude", "dist-packages"]
    leave += ["--exclude", "*.pyc" if kind == "sources" else "*.py"]
    report = json.loads(cli("verify", "--json", *leave, library).stdout)
    assert report["failures"] == []
    assert report["code_objects"] > 10_000
    assert report["instrumented"] + len(report["untouched"]) <= report["code_objects"]
    assert all(place["reason"] for place in report["untouched"])
    assert len(report["untouched"]) < report["code_objects"] / 1000
    # Some of the library's own tests do not compile on purpose.
    assert all(
        "SyntaxError" in refusal["reason"] or kind == "bytecode" for refusal in report["skipped"]
    )
