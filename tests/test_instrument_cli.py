"""`dapper-instrument` as a user meets it: what it does and what it says."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.instrument import GOOD, Run, cli, damage, packs, reasons, summary, tree, write

__all__ = ["cli", "tree"]


def test_precompile_stores_once(cli: Run, tree: Path, tmp_path: Path):
    for name in ("a.py", "pkg/__init__.py", "pkg/b.py", "notes.txt"):
        write(tree, name)
    write(tree, "empty.py", "")
    first = summary(cli, "precompile", tree)
    assert set(first) == {
        "instrumented",
        "up_to_date",
        "damaged",
        "skipped",
        "failed",
        "seconds",
        "files_per_second",
        "interpreters",
    }
    assert (first["instrumented"], first["up_to_date"]) == (4, 0)
    assert first["skipped"] == first["failed"] == []
    assert first["seconds"] > 0
    assert first["files_per_second"] > 0
    assert len(packs(tmp_path)) == 1
    second = summary(cli, "precompile", tree)
    assert (second["instrumented"], second["up_to_date"]) == (0, 4)
    assert len(packs(tmp_path)) == 1


def test_content_counts_not_path_or_time(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tree, elsewhere)
    os.utime(elsewhere / "a.py", (1, 1))
    assert summary(cli, "precompile", elsewhere)["up_to_date"] == 1
    write(elsewhere, "a.py", GOOD.replace("+ 1", "+ 2"))
    assert summary(cli, "precompile", elsewhere)["instrumented"] == 1


def test_an_edit_of_the_same_size_within_the_second_is_seen(cli: Run, tree: Path):
    path = write(tree, "a.py")
    moment = path.stat().st_mtime
    py_compile.compile(str(path))
    summary(cli, "precompile", path)
    write(tree, "a.py", GOOD.replace("+ 1", "+ 2"))
    os.utime(path, (moment, moment))
    assert summary(cli, "precompile", path)["instrumented"] == 1


def test_every_line_and_breakpoints_are_stored_beside_plain_code(cli: Run, tree: Path):
    write(tree, "a.py")
    write(tree, "b.py", GOOD + "x = 1\n")
    points = write(tree, "points.toml", "[[breakpoint]]\nfile = 'a.py'\nline = 2\n")
    assert summary(cli, "precompile", tree)["instrumented"] == 2
    once = summary(cli, "precompile", tree, "--breakpoints", points)
    assert (once["instrumented"], once["up_to_date"]) == (1, 1)
    assert summary(cli, "precompile", tree, "--breakpoints", points)["up_to_date"] == 2
    assert summary(cli, "precompile", tree, "--every-line")["instrumented"] == 2
    assert summary(cli, "precompile", tree, "--every-line")["up_to_date"] == 2


def test_optimised_code_is_kept_apart(cli: Run, tree: Path):
    write(tree, "a.py")
    assert summary(cli, "precompile", tree)["instrumented"] == 1
    assert summary(cli, "precompile", tree, "--optimize", "2")["instrumented"] == 1


def test_excluded_files_are_left_out(cli: Run, tree: Path):
    for name in ("a.py", "vendor/b.py", "deep/vendor/c.py"):
        write(tree, name)
    assert summary(cli, "precompile", tree, "--exclude", "**/vendor")["instrumented"] == 1


def test_another_interpreter_fills_its_own_part(
    cli: Run, tree: Path, tmp_path: Path, pythons: dict[str, Path]
):
    write(tree, "a.py")
    for python in pythons.values():
        report = summary(cli, "precompile", tree, "--python", python)
        assert report["instrumented"] == 1, report
    assert len(packs(tmp_path)) == len(pythons)


def test_the_summary_is_text_without_json(cli: Run, tree: Path):
    write(tree, "a.py")
    write(tree, "bad.py", "x = = 1\n")
    done = cli("precompile", tree, status=1)
    assert "bad.py: does not compile: SyntaxError on line 1" in done.stdout
    assert "1 file instrumented, 0 up to date, 0 skipped, 1 failed" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "made"),
    [([], 1), (["--every-line"], 1), (["--breakpoints", "points.toml"], 0)],
    ids=["plain", "every line", "breakpoints"],
)
def test_the_import_hook_finds_what_precompile_stored(
    cli: Run, tree: Path, tmp_path: Path, options: list[str], made: int
):
    module = write(tree, "module.py", "def f(x):\n    y = x + 1\n    return y\n")
    write(tree, "main.py", "import module\nprint(module.f(1))\n")
    points = "[[breakpoint]]\nfile = 'module.py'\nline = 2\nkind = 'count'\n"
    write(tree, "points.toml", points)
    options = [str(tree / option) if option.endswith("toml") else option for option in options]
    cli("precompile", *options, tree)
    # A copy elsewhere, with other times: content is what counts.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tree, elsewhere, copy_function=shutil.copyfile)
    env = os.environ | {"DAPPER_CACHE_DIR": str(tmp_path / "store")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    events = tmp_path / "events"
    command = [sys.executable, "-m", "dapper", "run", f"--events={events}"]
    every = ["--every-line", str(elsewhere / "module.py")] if "--every-line" in options else []
    done = subprocess.run(
        [*command, *every, "--breakpoints", elsewhere / "points.toml", elsewhere / "main.py"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
    hits = [json.loads(line) for line in events.read_text().splitlines()]
    moved = str(elsewhere / module.name)
    assert (moved, 2) in [(hit["file"], hit["line"]) for hit in hits if hit["event"] == "hit"]
    # Nothing was compiled; only a variant that was not asked for beforehand had to be made.
    assert not (elsewhere / "__pycache__").exists()
    assert len(list((tmp_path / "store").rglob("*.entry"))) == (0 if every else made)


def test_lines_shows_functions_and_breakable_lines(cli: Run, tree: Path):
    path = write(tree, "a.py", 'def f(x):\n    return (\n        x\n    )\n    "end"\n')
    report = summary(cli, "lines", path)
    assert report["file"] == str(path)
    assert report["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    module, function = report["functions"]
    assert (module["qualname"], module["depth"]) == ("<module>", 0)
    assert (function["qualname"], function["first_line"], function["last_line"]) == ("f", 1, 5)
    assert 1 in report["breakable"]
    assert 3 in function["lines"]
    assert "f" in cli("lines", path).stdout


@pytest.mark.parametrize("command", ["lines", "dis"])
def test_a_single_file_that_cannot_be_shown_is_told(cli: Run, tree: Path, command: str):
    broken = write(tree, "broken.py", "x = = 1\n")
    done = cli(command, broken, status=1)
    assert f"{broken}: does not compile: SyntaxError on line 1" in done.stderr
    done = cli(command, tree / "gone.py", status=1)
    assert str(tree / "gone.py") in done.stderr
    truncated = write(tree, "a.pyc", b"short")
    assert str(truncated) in cli(command, truncated, status=1).stderr


def test_dis_shows_both_sides(cli: Run, tree: Path):
    path = write(tree, "a.py")
    report = summary(cli, "dis", f"{path}:f", "--line", "2", "--line", "99")
    assert report["function"] == "f"
    assert [(line["requested_line"], line["line"]) for line in report["lines"]] == [
        (2, 2),
        (99, None),
    ]
    assert report["original"].count("LOAD_CONST") < report["variant"].count("LOAD_CONST")
    text = cli("dis", f"{path}:f", "--line", "2").stdout
    assert sum(line.lstrip().startswith("+") for line in text.splitlines()) == 3
    assert "no function named g" in cli("dis", f"{path}:g", status=1).stderr


def test_verify_takes_sources_and_compiled_files_of_any_version(
    cli: Run, tree: Path, pythons: dict[str, Path]
):
    path = write(tree, "a.py")
    for python in pythons.values():
        subprocess.run([python, "-m", "py_compile", path], check=True)
    report = summary(cli, "verify", tree)
    assert report["files"] == 1 + len(pythons)
    assert report["code_objects"] == report["instrumented"] == 2 * (1 + len(pythons))
    assert report["untouched"] == report["failures"] == []
    assert report["seconds"] > 0


def test_verify_fails_on_damage_and_skips_what_holds_nothing_to_prove(cli: Run, tree: Path):
    write(tree, "good.py")
    write(tree, "broken.py", "x = = 1\n")
    write(tree, "old.pyc", (3394).to_bytes(2, "little") + b"\r\n" + bytes(12))
    report = summary(cli, "verify", tree)
    assert set(reasons(report["skipped"])) == {"broken.py", "old.pyc"}
    compiled = py_compile.compile(str(tree / "good.py"), cfile=str(tree / "cut.pyc"))
    damage(Path(compiled or ""), "truncated")
    report = summary(cli, "verify", tree, status=1)
    assert report["files"] == 1
    assert set(reasons(report["failures"])) == {"cut.pyc"}
    assert "failed: 1" in cli("verify", tree, status=1).stdout
    assert "broken.py" in cli("verify", tree / "broken.py", status=1).stdout


@pytest.mark.once
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_the_commands(cli: Run, shell: str):
    assert "precompile" in cli("completions", shell).stdout
    assert "precompile" in summary(cli, "completions", shell)["script"]


@pytest.mark.once
def test_help_has_examples_and_the_exit_status(cli: Run):
    commands = ("precompile", "lines", "dis", "verify", "completions")
    for command in commands:
        text = cli(command, "--help").stdout
        assert f"Examples:\n  dapper-instrument {command} " in text
        assert "--json" in text
    text = cli("--help").stdout
    assert "Exit status:\n  0  everything was done\n  1  a file failed" in text
    assert all(f"\n  {command} " in text for command in commands)
    assert cli("--version").stdout.startswith("dapper-instrument 0.")


@pytest.mark.once
def test_a_closed_pipe_is_no_error(tree: Path):
    path = write(tree, "a.py", GOOD * 2000)
    command = [sys.executable, "-m", "dapper.instrument_cli", "dis", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
