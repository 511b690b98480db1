"""The benches measure what they say: every arm proves itself, and a run writes page and plots.

No test looks at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
UNDER = BENCHES / "programs" / "under.py"
CALLS = BENCHES / "programs" / "calls.py"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

sys.path.insert(0, str(BENCHES))

import arms  # noqa: E402
import corpus  # noqa: E402
import estimate  # noqa: E402
import figures  # noqa: E402
import plots  # noqa: E402
import rivals  # noqa: E402

QUICK = ("--share", "2000", "--repetitions", "1")
TOOLS = ("plain", *rivals.tools(VERSION))


def under(tool: str, *lines: int, options: tuple[str, ...] = QUICK):
    return rivals.under(VERSION, tool, CALLS, list(lines), *options)


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_measures_with_breakpoints_that_are_not_hit(tool):
    (taken,) = under(tool, *arms.marked(CALLS, "hot")).run()
    assert taken > 0


@pytest.mark.parametrize("tool", ["settrace-compare", "dapper-import", "dapper-bound"])
def test_a_breakpoint_that_is_hit_is_no_measurement(tool):
    lines = CALLS.read_text().splitlines()
    reached = next(number for number, line in enumerate(lines, 1) if line.strip() == "return a + b")
    with pytest.raises(arms.BenchError):
        under(tool, reached).run()


def test_work_is_divided_over_threads():
    (taken,) = under("plain", options=(*QUICK, "--threads", "8")).run()
    assert taken > 0


def test_the_no_op_hook_is_one_of_the_tools():
    assert "noop-hook" in TOOLS


def test_memory_is_of_the_process_itself():
    ballast = bytearray(200 << 20)
    (peak,) = under("plain", options=(*QUICK, "--peak")).run()
    assert 1 < peak < len(ballast) >> 20


@pytest.mark.once
def test_a_short_run_writes_page_and_plots(tmp_path):
    command = [sys.executable, str(BENCHES / "run.py"), "--rounds=1", f"--python={VERSION}"]
    done = subprocess.run(
        [*command, f"--to={tmp_path}", "many", "count", "start-up", "threads"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "performance.md").read_text()
    assert "64 functions: breakpoint in a hot place, set after load" in page
    assert "64 threads: dapper-bound" in page
    (plot,) = (tmp_path / "plots").iterdir()
    assert f"plots/{plot.name}" in page
    ET.parse(plot)


@pytest.mark.once
@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_corpus_has_as_many_files_of_different_content_as_asked(tmp_path, count):
    for name in ("a.py", "b.py", "pack/c.py"):
        path = tmp_path / "copy-0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name = {name!r}\n")
    corpus.repeat(tmp_path, count)
    found = list(corpus.sources(tmp_path))
    assert len(found) == len({path.read_bytes() for path in found}) == count


@pytest.mark.once
@pytest.mark.parametrize(
    ("count", "low", "high"), [(1, 0, 0), (5, 0, 4), (6, 0, 5), (9, 1, 7), (15, 3, 11), (27, 7, 19)]
)
def test_interval_of_a_median_is_that_of_the_sign_test(count, low, high):
    found = estimate.median_of([float(value) for value in reversed(range(count))])
    assert (found.low, found.value, found.high) == (low, (count - 1) / 2, high)


@pytest.mark.once
@pytest.mark.parametrize(
    ("low", "high", "at_least", "mark"),
    [
        (0.99, 1.01, False, ""),
        (1.01, 1.03, False, " (?)"),
        (1.03, 1.05, False, " (!)"),
        (91, 95, True, ""),
        (88, 92, True, " (?)"),
        (80, 89, True, " (!)"),
    ],
)
def test_a_bound_is_met_when_the_whole_interval_is_within(low, high, at_least, mark):
    value = estimate.Estimate((low + high) / 2, low, high)
    bound = 90.0 if at_least else 1.02
    found = figures.figure(
        "bounds", "s", "m", VERSION, value, unit="x", bound=bound, at_least=at_least
    )
    assert found.mark == mark


@pytest.mark.once
def test_a_plot_is_text_that_depends_on_the_values_alone():
    rows = {"settrace <a>": {"3.9": 9.0, "3.11": 7.0}, "dapper": {"3.11": 1.0}}
    drawn = plots.dot_plot("Title & more", rows, "x", log=True)
    assert drawn == plots.dot_plot("Title & more", json.loads(json.dumps(rows)), "x", log=True)
    root = ET.fromstring(drawn)
    dots = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 2 + 3, "the legend's and the values'"
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.once
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(("low", "high"), [(1, 1), (0.97, 1.04), (0.8, 1500), (3, 48), (0.4, 0.5)])
def test_ticks_enclose_the_values(low, high, log):
    ticks = plots.ticks_of(low, high, log=log)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 16
