"""Run test suites of other projects with a probe on every line: the same tests pass and fail.

Usage: run.py [--python VERSION]... [SUITE]...

Environments and sources are kept in build/suites, so that only the first run needs the network.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "suites"
# 3.15 is left out: not every dependency of these suites runs there yet.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
SHOWN = 20


@dataclass(frozen=True)
class Suite:
    """One project: where its tests are, and what they need."""

    name: str
    version: str
    package: str
    tests: list[str]
    needs: list[str] = field(default_factory=list)
    tests_installed: bool = False

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


def read_suites() -> tuple[list[str], dict[str, Suite]]:
    """Read suites.toml: what all suites need, and the suites by name."""
    table = tomllib.loads((HERE / "suites.toml").read_text())
    return table["common"], {name: Suite(name, **given) for name, given in table["suite"].items()}


class Hits:
    """Counts the hits that arrive in a pipe, so that no file holds the millions of them."""

    def __init__(self, pipe: Path) -> None:
        self.imported = 0
        self.others = 0
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        # Opened for writing as well: processes come and go, and no end of file is to be seen.
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._pipe)

    def _count(self) -> None:
        unfinished = b""
        while True:
            ended = self._ended.is_set()
            ready, _, _ = select.select([self._pipe], [], [], 0.1)
            if not ready:
                if ended:
                    return
                continue
            whole, newline, unfinished = (unfinished + os.read(self._pipe, 1 << 20)).rpartition(
                b"\n"
            )
            lines = whole + newline
            hits = lines.count(b'"event":"hit"')
            imported = lines.count(b'"tier":"import"')
            self.imported += imported
            self.others += hits - imported


class Environment:
    """A virtual environment for one suite under one interpreter."""

    def __init__(self, suite: Suite, python: Path, version: str) -> None:
        self.suite = suite
        self.directory = BUILD / version / suite.name
        self.venv = self.directory / "venv"
        self.python = self.venv / "bin" / "python"
        self._make(python)

    def _make(self, python: Path) -> None:
        common, _ = read_suites()
        wanted = [self.suite.requirement, *common, *self.suite.needs]
        stamp = self.directory / "made-from"
        made_from = "\n".join([str(python), *wanted])
        if stamp.exists() and stamp.read_text() == made_from:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        subprocess.run([python, "-I", "-m", "venv", self.venv], check=True)
        pip: list[str | Path] = [self.python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", *wanted], check=True)
        if not self.suite.tests_installed:
            self._fetch_tests(pip)
        stamp.write_text(made_from)

    def _fetch_tests(self, pip: list[str | Path]) -> None:
        """Unpack the source distribution, without the package: the installed one is tested."""
        fetched = self.directory / "fetched"
        only_source: list[str | Path] = [
            "--no-deps",
            "--no-binary",
            self.suite.name,
            "--dest",
            fetched,
        ]
        subprocess.run([*pip, "download", *only_source, self.suite.requirement], check=True)
        (archive,) = fetched.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(fetched, filter="data")
        (unpacked,) = (path for path in fetched.iterdir() if path.is_dir())
        for duplicate in (unpacked / "src", unpacked / self.suite.package):
            shutil.rmtree(duplicate, ignore_errors=True)
        unpacked.rename(self.directory / "source")

    @property
    def package(self) -> Path:
        """The directory of the installed package."""
        return next(self.venv.glob("lib/python3.*/site-packages")) / self.suite.package

    def run(self, events: Path | None = None) -> dict[str, dict[str, str]]:
        """Run the suite, with probes when there are `events` to write; return the outcomes."""
        if self.suite.tests_installed:
            work = self.directory
            tests = [str(self.package / test) for test in self.suite.tests]
        else:
            work, tests = self.directory / "source", self.suite.tests
        written = self.directory / ("probed.json" if events else "plain.json")
        written.unlink(missing_ok=True)
        command: list[str | Path] = [self.python]
        if events:
            glob = f"{self.package}/**/*.py"
            command += ["-m", "dapper", "run", "--every-line", glob, "--events", events]
        # The cache of pytest and random inputs would make one run depend on another.
        command += ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "outcomes"]
        command += ["--hypothesis-seed=0", "--color=no", *tests]
        log = written.with_suffix(".log")
        with log.open("w") as said:
            subprocess.run(
                command,
                cwd=work,
                env=self._environment(written),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if not written.exists():
            raise RuntimeError(f"{self.suite.name}: pytest did not finish, see {log}")
        outcomes: dict[str, dict[str, str]] = json.loads(written.read_text())
        return outcomes

    def _environment(self, written: Path) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        paths = os.pathsep.join([str(ROOT / "python"), str(HERE)])
        kept |= {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", "OUTCOMES": str(written)}
        return kept | {"DAPPER_CACHE_DIR": str(self.directory / "store")}


def compare(suite: Suite, python: Path, version: str) -> list[str]:
    """Run one suite both ways; return the differences."""
    environment = Environment(suite, python, version)
    before = environment.run()
    pipe = environment.directory / "events"
    started = time.monotonic()
    with Hits(pipe) as hits:
        after = environment.run(pipe)
    seconds = time.monotonic() - started
    problems = [
        f"{test}: {before.get(test)} without probes, {after.get(test)} with"
        for test in sorted(before.keys() | after.keys())
        if before.get(test) != after.get(test)
    ]
    if not before:
        problems.append("no test was run")
    if not hits.imported or hits.others:
        problems.append(f"{hits.imported} hits of imported code, {hits.others} others")
    failed = sum("failed" in outcome.values() for outcome in before.values())
    print(
        f"{version} {suite.requirement}: {len(before)} tests, {failed} fail without probes, "
        f"{len(problems)} differ with them; {hits.imported} hits in {seconds:.0f} s",
        flush=True,
    )
    return problems


def main() -> int:
    """Run what the command line names; 1 when a test differs."""
    _, suites = read_suites()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", action="append", choices=VERSIONS, metavar="VERSION")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(suites))
    options = parser.parse_args()
    unknown = sorted(set(options.suites) - set(suites))
    if unknown:
        parser.error(f"no suite is named {unknown[0]}: {', '.join(suites)} are known")
    found = json.loads((ROOT / "build" / "pythons.json").read_text())["found"]
    differ = False
    for version in options.python or VERSIONS:
        if version not in found:
            print(f"{version}: interpreter missing")
            continue
        for name in options.suites or suites:
            problems = compare(suites[name], Path(found[version]), version)
            differ |= bool(problems)
            for problem in problems[:SHOWN]:
                print(f"  {problem}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
