"""The examples in ci/ do what they say: their very commands run, in a scratch project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.ci_runner import GitHub, GitLab, Runner, read
from tests.instrument import write

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {"github": ROOT / "ci" / "github-actions.yml", "gitlab": ROOT / "ci" / "gitlab-ci.yml"}
VERSIONS = ("3.12", "3.13")
MODEL = """\
def price(count):
    total = count * 3
    return total
"""
CONFTEST = """\
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with sources, two suites and a breakpoint."""
    folder = tmp_path / "scratch"
    write(folder, "src/shop/__init__.py", "")
    write(folder, "src/shop/model.py", MODEL)
    write(folder, "tests/conftest.py", CONFTEST)
    for suite in ("unit", "integration"):
        text = "from shop.model import price\n\n\n"
        text += f"def test_{suite}():\n    assert price(2) == 6\n"
        write(folder, f"tests/{suite}/test_{suite}.py", text)
    write(folder, "requirements.txt", "# dapper and pytest are installed here\n")
    point = '[[breakpoint]]\nfile = "src/shop/model.py"\nline = 2\nkind = "count"\n'
    write(folder, "breakpoints.toml", point)
    return folder


def environments() -> dict[str, Path]:
    found = json.loads((ROOT / "build" / "pythons.json").read_text())["found"]
    return {version: ROOT / "build" / "venvs" / version for version in found}


def prove(runner: Runner) -> None:
    """Check that every shard hit its breakpoint and compiled nothing."""
    tests = [(matrix, place) for name, matrix, place in runner.ran if name == "test"]
    assert len(tests) == 2 * len(VERSIONS)
    for matrix, place in tests:
        rows = [json.loads(line) for line in (place / "hits.jsonl").read_text().splitlines()]
        (end,) = [row for row in rows if row["event"] == "breakpoint"]
        model = place / "src" / "shop" / "model.py"
        assert (end["file"], end["tier"], end["hits"]) == (str(model), "import", 1), matrix
        # What was not in the store would have been stored, and compiled into a .pyc file.
        assert list((place / ".dapper").rglob("*.entry")) == []
        assert not list((place / "src" / "shop" / "__pycache__").glob("model.*"))


def make(kind: str, project: Path, tmp_path: Path, name: str = "jobs") -> Runner:
    """Run all jobs of an example."""
    runner: GitHub | GitLab
    if kind == "github":
        runner = GitHub(project, tmp_path / name, environments())
        runner.workflow(EXAMPLES[kind])
    else:
        secrets = {"DAPPER_CACHE_KEY": "a long random text"}
        runner = GitLab(project, tmp_path / name, environments(), secrets)
        runner.pipeline(EXAMPLES[kind])
    return runner


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_jobs_do_what_they_say(kind: str, project: Path, tmp_path: Path):
    assert set(VERSIONS) <= set(environments()), "the examples name these interpreters"
    runner = make(kind, project, tmp_path)
    prove(runner)
    # The next commit has the baseline of this one.
    (baseline, *_) = tmp_path.glob("jobs/job-0/project/warmed*.json")
    shutil.copy(baseline, project / "baseline.json")
    write(project, "src/shop/model.py", MODEL.replace("* 3", "+ 4"))
    prove(make(kind, project, tmp_path, "again"))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_stale_store_fails_the_check(kind: str, project: Path, tmp_path: Path):
    class Stale(GitHub if kind == "github" else GitLab):  # type: ignore[misc]
        """Checks out another commit where the store is checked."""

        def checkout(self) -> Path:
            if any(name == "warm" for name, *_ in self.ran):
                write(self.project, "src/shop/model.py", MODEL + "\n\nNEW = 1\n")
            place: Path = super().checkout()
            return place

    runner = Stale(project, tmp_path / "jobs", environments(), {"DAPPER_CACHE_KEY": "key"})
    start = runner.workflow if kind == "github" else runner.pipeline
    with pytest.raises(AssertionError) as failed:
        start(EXAMPLES[kind])
    assert "precompile --check" in str(failed.value)
    assert "model.py: changed since it was stored" in str(failed.value).replace(" (3.12)", "")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_another_store_is_not_imported(kind: str, project: Path, tmp_path: Path):
    swapped: set[Path] = set()

    class Swapped(GitHub if kind == "github" else GitLab):  # type: ignore[misc]
        """Has somebody change the artifacts between the jobs."""

        def checkout(self) -> Path:
            for kept in self.artifacts.values():
                for file in kept:
                    if file.suffix == ".dapper" and file not in swapped:
                        swapped.add(file)
                        content = bytearray(file.read_bytes())
                        content[len(content) // 2] ^= 1
                        file.write_bytes(content)
            place: Path = super().checkout()
            return place

    runner = Swapped(project, tmp_path / "jobs", environments(), {"DAPPER_CACHE_KEY": "key"})
    start = runner.workflow if kind == "github" else runner.pipeline
    with pytest.raises(AssertionError, match="cache import"):
        start(EXAMPLES[kind])
    assert {name for name, *_ in runner.ran} == {"warm", "check"}


def test_the_examples_say_what_they_need():
    for path in EXAMPLES.values():
        assert read(path)
        text = path.read_text()
        assert "precompile --check" in text
        assert "cache export" in text
        assert "cache import" in text
