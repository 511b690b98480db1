"""`precompile` for several interpreters, for checks, and beside files that break a compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.instrument import GOOD, Run, cli, packs, reasons, summary, tree, write

__all__ = ["cli", "tree"]

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
LONG_AGO = (1_000_000_000, 1_000_000_000)


def settled(path: Path) -> Path:
    """Give a source an age at which its state is believed."""
    os.utime(path, LONG_AGO)
    return path


def damage_packs(tmp_path: Path, text: bytes) -> None:
    """Change a byte of what the packs hold, in place."""
    for pack in packs(tmp_path):
        content = bytearray(pack.read_bytes())
        at = content.find(text)
        if at >= 0:
            content[at] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(content)
            return
    pytest.fail(f"no pack holds {text!r}")


def states(store: Path) -> dict[Path, tuple[int, int]]:
    """Return what changes with any change of the files and folders of a store."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in store.rglob("*")}


def test_one_command_fills_the_store_of_several_interpreters(
    cli: Run, tree: Path, tmp_path: Path, pythons: dict[str, Path]
):
    write(tree, "a.py")
    write(tree, "pkg/b.py", GOOD * 2)
    write(tree, "bad.py", "x = = 1\n")
    chosen = [word for python in pythons.values() for word in ("--python", str(python))]
    report = summary(cli, "precompile", *chosen, tree, status=1)
    count = len(pythons)
    assert (report["instrumented"], report["up_to_date"]) == (2 * count, 0)
    assert [row["python"] for row in report["failed"]] == sorted(map(str, pythons.values()))
    assert {Path(row["file"]).name for row in report["failed"]} == {"bad.py"}
    parts = report["interpreters"]
    assert [part["python"] for part in parts] == [str(python) for python in pythons.values()]
    assert [part["version"] for part in parts] == [f"CPython {version}" for version in pythons]
    assert all(set(report) - set(part) == {"interpreters"} for part in parts)
    assert all((part["instrumented"], len(part["failed"])) == (2, 1) for part in parts)
    folders = {pack.parent for pack in packs(tmp_path)}
    assert len(folders) == count
    again = summary(cli, "precompile", *chosen, tree, "--exclude", "**/bad.py")
    assert (again["instrumented"], again["up_to_date"]) == (0, 2 * count)
    text = cli("precompile", *chosen, tree, status=1).stdout
    for python, version in ((python, version) for version, python in pythons.items()):
        assert f"bad.py ({python}): does not compile: SyntaxError on line 1" in text
        assert f"{python} (CPython {version}): 0 files instrumented, 2 up to date" in text


def test_an_interpreter_is_found_by_its_version(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    named = tmp_path / "bin" / f"python{VERSION}"
    named.parent.mkdir()
    named.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    named.chmod(0o755)
    env = {"PATH": f"{named.parent}{os.pathsep}{os.environ['PATH']}"}
    report = summary(cli, "precompile", "--python", VERSION, tree, env=env)
    (part,) = report["interpreters"]
    assert (part["python"], part["version"]) == (VERSION, f"CPython {VERSION}")
    assert report["instrumented"] == 1


def test_an_interpreter_that_is_none_stops_all_before_anything_is_written(
    cli: Run, tree: Path, tmp_path: Path
):
    write(tree, "a.py")
    options = ["--python", sys.executable, "--python", "/nowhere/python"]
    done = cli("precompile", *options, tree, status=2)
    assert "/nowhere/python" in done.stderr
    assert packs(tmp_path) == []
    assert "python3.99" in cli("precompile", "--python", "3.99", tree, status=2).stderr


def test_a_check_tells_what_the_store_lacks_and_writes_nothing(
    cli: Run, tree: Path, tmp_path: Path
):
    path, other = write(tree, "a.py"), write(tree, "b.py", GOOD * 2)
    report = summary(cli, "precompile", "--check", tree, status=1)
    assert not (tmp_path / "store").exists()
    assert reasons(report["missing"]) == {
        "a.py": "is not in the store",
        "b.py": "is not in the store",
    }
    summary(cli, "precompile", tree)
    before = states(tmp_path / "store")
    report = summary(cli, "precompile", "--check", tree)
    assert (report["up_to_date"], report["missing"], report["failed"]) == (2, [], [])
    settled(write(tree, "a.py", GOOD * 3))
    other.unlink()
    write(tree, "new.py", "x = 1\n")
    report = summary(cli, "precompile", "--check", tree, status=1)
    assert reasons(report["missing"]) == {
        "a.py": "changed since it was stored",
        "new.py": "is not in the store",
    }
    text = cli("precompile", "--check", tree, status=1).stdout
    assert f"missing: 2\n  {path}: changed since it was stored\n" in text
    report = summary(cli, "precompile", "--check", "--every-line", tree, status=1)
    assert len(report["missing"]) == 2
    assert states(tmp_path / "store") == before


def test_a_check_names_the_variant_that_is_missing(cli: Run, tree: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    points = write(tree, "points.toml", "[[breakpoint]]\nfile = 'a.py'\nline = 2\n")
    report = summary(cli, "precompile", "--check", "--breakpoints", points, tree, status=1)
    expected = {"a.py": "is stored, but not with probes on: lines 2"}
    assert reasons(report["missing"]) == expected


def test_a_check_is_for_each_interpreter(cli: Run, tree: Path, pythons: dict[str, Path]):
    write(tree, "a.py")
    first, *others = pythons.values()
    summary(cli, "precompile", "--python", first, tree)
    chosen = [word for python in pythons.values() for word in ("--python", str(python))]
    report = summary(cli, "precompile", "--check", *chosen, tree, status=1)
    assert report["up_to_date"] == 1
    assert {row["python"] for row in report["missing"]} == set(map(str, others))


def test_a_check_with_a_file_that_cannot_be_read_fails(cli: Run, tree: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    (tree / "mem.py").symlink_to("/proc/self/mem")
    report = summary(cli, "precompile", "--check", tree, status=1)
    assert report["missing"] == []
    assert set(reasons(report["failed"])) == {"mem.py"}
    cli("precompile", "--check", tree / "gone", status=1)


def test_a_baseline_says_what_a_change_instruments_anew(cli: Run, tree: Path, tmp_path: Path):
    for name in ("same.py", "edited.py", "gone.py", "pkg/moved.py"):
        write(tree, name, f"{GOOD}name = {name!r}\n")
    baseline = tmp_path / "baseline.json"
    root = ("--root", tree)
    summary(cli, "precompile", tree, "--write-baseline", baseline, *root)
    written = json.loads(baseline.read_text())
    assert (written["dapper_baseline"], set(written)) == (
        1,
        {"dapper_baseline", "engine", "interpreters", "files"},
    )
    assert set(written["files"]) == {"same.py", "edited.py", "gone.py", "pkg/moved.py"}
    assert len(written["files"]["same.py"]["source"]) == 64
    assert written["files"]["same.py"]["variants"] == ["plain"]
    write(tree, "edited.py", GOOD * 2)
    (tree / "gone.py").unlink()
    (tree / "pkg" / "moved.py").rename(tree / "moved.py")
    packs_before = packs(tmp_path)
    report = summary(cli, "precompile", tree, "--baseline", baseline, *root)
    assert report["baseline"] == {
        "file": str(baseline),
        "same_engine": True,
        "added": ["moved.py"],
        "changed": ["edited.py"],
        "removed": ["gone.py", "pkg/moved.py"],
        "unchanged": 1,
    }
    assert "missing" not in report
    assert packs(tmp_path) == packs_before
    text = cli("precompile", tree, "--baseline", baseline, *root).stdout
    assert "changed: 1\n  edited.py\n" in text
    assert "2 files to instrument since " in text
    # With a check the store decides, and a baseline can be renewed in the same run.
    report = summary(
        cli,
        *("precompile", "--check", tree, "--baseline", baseline),
        *("--write-baseline", baseline, *root),
        status=1,
    )
    assert set(reasons(report["missing"])) == {"edited.py"}
    assert report["baseline"]["added"] == ["moved.py"]
    report = summary(cli, "precompile", tree, "--baseline", baseline, *root)
    assert report["baseline"]["unchanged"] == 3
    assert report["baseline"]["added"] == report["baseline"]["removed"] == []


def test_a_baseline_of_another_interpreter_or_variant_is_told(
    cli: Run, tree: Path, tmp_path: Path, pythons: dict[str, Path]
):
    write(tree, "a.py")
    baseline = tmp_path / "baseline.json"
    arguments = ("precompile", tree, "--baseline", baseline)
    summary(cli, "precompile", tree, "--write-baseline", baseline)
    other = next(python for version, python in pythons.items() if version != VERSION)
    assert not summary(cli, *arguments, "--python", other)["baseline"]["same_engine"]
    assert "everything is instrumented anew" in cli(*arguments, "--optimize", "2").stdout
    changed = summary(cli, *arguments, "--every-line")["baseline"]
    assert (changed["same_engine"], len(changed["changed"])) == (True, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the baseline"),
        ("", "is no baseline"),
        ("[]", "has no `dapper_baseline`"),
        ('{"dapper_baseline": 2}', "format 2, and this version reads format 1"),
        ('{"dapper_baseline": 1, "files": {}}', "missing field"),
    ],
)
def test_a_wrong_baseline_is_told(cli: Run, tree: Path, content: str | None, message: str):
    write(tree, "a.py")
    baseline = tree / "baseline.json"
    if content is not None:
        baseline.write_text(content)
    done = cli("precompile", "--baseline", baseline, tree, status=2)
    assert message in done.stderr
    assert str(baseline) in done.stderr


def test_a_baseline_that_cannot_be_written_is_told(cli: Run, tree: Path):
    write(tree, "a.py")
    done = cli("precompile", tree, "--write-baseline", tree / "no" / "b.json", status=2)
    assert str(tree / "no" / "b.json") in done.stderr
    done = cli("precompile", tree, "--root", tree / "a.py", status=2)
    assert "is not a directory" in done.stderr


def session(tree: Path, store: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program of the tree with breakpoints."""
    env = os.environ | {"DAPPER_CACHE_DIR": str(store)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "dapper", "run", f"--events={store.parent / 'events'}"]
    return subprocess.run(
        [*command, *options, tree / "main.py"], capture_output=True, text=True, env=env, check=True
    )


def test_the_breakpoints_of_the_last_session_are_prepared(
    cli: Run, tree: Path, tmp_path: Path, pythons: dict[str, Path]
):
    module = write(tree, "module.py", "def f(x):\n    y = x + 1\n    return y\n")
    write(tree, "main.py", "import module\nprint(module.f(1))\n")
    store = tmp_path / "store"
    # A copy of the same content elsewhere, as another checkout is.
    copy = write(tmp_path, "copy/module.py", module.read_text())
    session(tree, store, f"--count={module}:2", f"--count={module}:3")
    assert (store / "v2" / "remembered").stat().st_mode & 0o777 == 0o600
    other = next(python for version, python in pythons.items() if version != VERSION)
    for where in (tree, copy):
        cli("precompile", where, "--python", other)
        points = f"[[breakpoint]]\nfile = '{copy}'\nline = 2\n"
        points += f"[[breakpoint]]\nfile = '{copy}'\nline = 3\n"
        asked = write(tmp_path, "points.toml", points)
        check = ("precompile", "--check", copy, "--python", other, "--breakpoints", asked)
        assert summary(cli, *check)["up_to_date"] == 1
    # Another content at that path: the lines are what they were.
    write(tree, "module.py", "def f(x):\n    y = x + 2\n    return y\n")
    points = f"[[breakpoint]]\nfile = '{module}'\nline = 2\n"
    asked = write(tmp_path, "points.toml", points + points.replace("= 2", "= 3"))
    both = ("precompile", "--check", module, "--breakpoints", asked)
    cli("precompile", module, "--no-remembered")
    summary(cli, *both, status=1)
    cli("precompile", module)
    summary(cli, *both)


def test_a_damaged_memory_is_none(cli: Run, tree: Path, tmp_path: Path):
    module = write(tree, "module.py", "def f(x):\n    return x\n")
    write(tree, "main.py", "import module\nprint(module.f(1))\n")
    store = tmp_path / "store"
    session(tree, store, f"--count={module}:2")
    remembered = store / "v2" / "remembered"
    content = bytearray(remembered.read_bytes())
    content[-1] ^= 1
    for bad in (content, content[:20], b"", b"x" * 5000):
        remembered.write_bytes(bad)
        assert summary(cli, "precompile", tree)["failed"] == []
    session(tree, store, f"--count={module}:2")
    assert len(remembered.read_bytes()) == len(content)


def test_damage_that_an_edit_leaves_is_mended(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "good.py")
    settled(write(tree, "hit.py", "x = 'a text to be found'\n"))
    summary(cli, "precompile", tree)
    damage_packs(tmp_path, b"a text to be found")
    report = summary(cli, "precompile", "--check", tree, status=1)
    assert reasons(report["missing"]) == {"hit.py": "is damaged in the store"}
    report = summary(cli, "precompile", tree)
    assert (report["instrumented"], report["up_to_date"], report["damaged"]) == (1, 1, 1)
    report = summary(cli, "precompile", tree)
    assert (report["instrumented"], report["up_to_date"]) == (0, 2)
    assert "verify --repair" in cli("precompile", tree).stdout
    assert summary(cli, "precompile", "--check", tree)["up_to_date"] == 2


def test_all_that_is_stored_is_read_when_asked_for(cli: Run, tree: Path, tmp_path: Path):
    settled(write(tree, "hit.py", "x = 'a text to be found'\n"))
    summary(cli, "precompile", tree)
    damage_packs(tmp_path, b"a text to be found")
    report = summary(cli, "precompile", "--verify", tree)
    assert (report["instrumented"], report["damaged"]) == (1, 1)
    # What was made again is the same, so the same pack: it replaced the damaged one.
    assert summary(cli, "precompile", "--verify", tree)["damaged"] == 0


def test_a_damaged_overlay_entry_is_mended(cli: Run, tree: Path, tmp_path: Path):
    module = settled(write(tree, "module.py", "def f(x):\n    return x\n"))
    write(tree, "main.py", "import module\nprint(module.f(1))\n")
    store = tmp_path / "store"
    session(tree, store, f"--count={module}:2")
    (entry,) = store.rglob("*.entry")
    content = bytearray(entry.read_bytes())
    content[80] ^= 1
    entry.write_bytes(content)
    points = write(tree, "points.toml", "[[breakpoint]]\nfile = 'module.py'\nline = 2\n")
    check = ("precompile", "--check", module, "--breakpoints", points)
    cli("precompile", module, "--no-remembered")
    assert reasons(summary(cli, *check, status=1)["missing"]) == {
        "module.py": "is damaged in the store"
    }
    assert summary(cli, "precompile", module)["instrumented"] == 1
    assert summary(cli, *check)["up_to_date"] == 1


def many(tree: Path) -> int:
    for number in range(40):
        write(tree, f"m{number}.py", f"{GOOD}number = {number}\n")
    return 40


def done_beside(report: dict[str, Any], name: str, count: int) -> str:
    """Return the reason of the one file that failed."""
    assert report["instrumented"] == count, report
    why = reasons(report["failed"])
    assert set(why) == {name}
    return why[name]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_source_that_kills_its_interpreter_costs_only_itself(cli: Run, tree: Path, jobs: str):
    """The compiler of 3.11 to 3.13 counts its recursion and not the stack that there is."""
    count = many(tree)
    write(tree, "m7_deep.py", "x = a" + ".b" * 100_000 + "\n")
    arguments = ("precompile", tree, "--jobs", jobs)
    report = summary(cli, *arguments, stack=1 << 18, status=1)
    why = done_beside(report, "m7_deep.py", count)
    # Later ones look at the stack, and refuse.
    assert why.startswith(("the interpreter died", "does not compile: RecursionError")), why
    if why.startswith("the interpreter died"):
        assert "signal: 11" in why
    again = summary(cli, *arguments, status=1)
    assert (again["up_to_date"], again["instrumented"]) == (count, 0)
    assert "does not compile: RecursionError" in reasons(again["failed"])["m7_deep.py"]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_source_that_compiles_for_ever_costs_only_itself(cli: Run, tree: Path, jobs: str):
    """Decoding punycode takes a time that grows with the square of the length."""
    count = many(tree)
    write(tree, "m7_slow.py", "# coding: punycode\nx = 1-" + "abcdefghij" * 200_000)
    report = summary(cli, "precompile", tree, "--jobs", jobs, "--timeout", "2", status=1)
    why = done_beside(report, "m7_slow.py", count)
    assert why == ("took longer than 2 s to compile: raise the limit with --timeout (0 for none)")


def test_poison_for_one_interpreter_is_told_of_that_one(
    cli: Run, tree: Path, pythons: dict[str, Path]
):
    count = many(tree)
    write(tree, "generic.py", "def f[T](x: T) -> T:\n    return x\n")
    chosen = [word for python in pythons.values() for word in ("--python", str(python))]
    old = [str(python) for version, python in pythons.items() if version == "3.11"]
    report = summary(cli, "precompile", tree, *chosen, status=1 if old else 0)
    assert [row["python"] for row in report["failed"]] == old
    assert report["instrumented"] == (count + 1) * len(pythons) - len(old)
