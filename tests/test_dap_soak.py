"""A short run of the soak: stops with random requests leave nothing behind."""

from __future__ import annotations

import pytest
from tests.stress.dap_soak import GROWTH, soak


@pytest.mark.parametrize("seed", [1, 2])
def test_stops_leave_nothing_behind(tmp_path, seed):
    assert soak(tmp_path, 150, seed) < GROWTH
