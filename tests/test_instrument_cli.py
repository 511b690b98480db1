"""`dapper-instrument` as a user meets it: what it does, what it says, and every bad input."""

from __future__ import annotations

import json
import marshal
import os
import py_compile
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GOOD = "def f(x):\n    y = x + 1\n    return y\n\n\nprint(f(1))\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder for sources."""
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Run the command with a store of its own; the status must be the expected one."""

    def run(
        *arguments: str | Path,
        status: int = 0,
        env: dict[str, str] | None = None,
        limit: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        def restrict() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = subprocess.run(
            [sys.executable, "-m", "dapper.instrument_cli", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | {"DAPPER_CACHE_DIR": str(tmp_path / "store")} | (env or {}),
            preexec_fn=restrict if limit is not None else None,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "panicked" not in done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def write(folder: Path, name: str, content: str | bytes = GOOD) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def summary(run: Run, *arguments: str | Path, **options: Any) -> dict[str, Any]:
    done = run(*arguments, "--json", **options)
    (line,) = done.stdout.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def reasons(refusals: list[dict[str, str]]) -> dict[str, str]:
    return {Path(refusal["file"]).name: refusal["reason"] for refusal in refusals}


def packs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store").rglob("*.pack"))


# --- precompile


def test_precompile_stores_once(cli: Run, tree: Path, tmp_path: Path):
    for name in ("a.py", "pkg/__init__.py", "pkg/b.py", "notes.txt"):
        write(tree, name)
    write(tree, "empty.py", "")
    first = summary(cli, "precompile", tree)
    assert set(first) == {
        "instrumented",
        "up_to_date",
        "skipped",
        "failed",
        "seconds",
        "files_per_second",
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


# --- bad input


def test_sources_that_do_not_compile_are_named_and_the_rest_is_done(cli: Run, tree: Path):
    write(tree, "good.py")
    write(tree, "latin.py", "# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    write(tree, "syntax.py", "def f(:\n")
    write(tree, "bytes.py", b"x = '\xff'\n")
    write(tree, "cookie.py", b"# coding: nonsense\n")
    write(tree, "nul.py", b"x = 1\0\n")
    write(tree, "deep.py", "x = " + "(" * 1000 + ")" * 1000 + "\n")
    report = summary(cli, "precompile", tree, status=1)
    assert report["instrumented"] == 2
    why = reasons(report["failed"])
    assert set(why) == {"syntax.py", "bytes.py", "cookie.py", "nul.py", "deep.py"}
    assert "SyntaxError on line 1" in why["syntax.py"]
    assert "utf-8" in why["bytes.py"].lower()
    assert "nonsense" in why["cookie.py"]
    assert "null bytes" in why["nul.py"]
    assert all(reason.startswith("does not compile: ") for reason in why.values())


def test_things_that_are_no_source_are_told(cli: Run, tree: Path):
    write(tree, "good.py")
    notes = write(tree, "notes.txt", "hello\n")
    compiled = write(tree, "old.pyc", b"")
    os.mkfifo(tree / "pipe.py")
    gone = tree / "gone"
    report = summary(cli, "precompile", tree, notes, compiled, gone, status=1)
    assert report["instrumented"] == 1
    assert reasons(report["skipped"]) == {"pipe.py": "is not a regular file"}
    why = reasons(report["failed"])
    assert why["notes.txt"].startswith("is not a Python source")
    assert why["old.pyc"] == "is a compiled file: give its source"
    assert why["gone"].startswith("does not exist")


def test_a_script_without_a_suffix_is_taken_by_its_first_line(cli: Run, tree: Path):
    tool = write(tree, "tool", "#!/usr/bin/env python3\nprint(1)\n")
    assert summary(cli, "precompile", tool)["instrumented"] == 1


def test_a_directory_loop_is_told_and_the_rest_is_done(cli: Run, tree: Path):
    write(tree, "a/good.py")
    (tree / "a" / "up").symlink_to(tree)
    report = summary(cli, "precompile", tree)
    assert report["instrumented"] == 1
    assert reasons(report["skipped"])["up"].startswith("directory loop: leads back to ")


def test_an_unreadable_source_is_told_and_the_rest_is_done(cli: Run, tree: Path):
    write(tree, "good.py")
    # Reading it fails for every user, root too.
    (tree / "mem.py").symlink_to("/proc/self/mem")
    if os.geteuid() != 0:
        write(tree, "closed.py").chmod(0)
    report = summary(cli, "precompile", tree, status=1)
    assert report["instrumented"] == 1
    why = reasons(report["failed"])
    assert why["mem.py"].startswith("cannot be read: ")
    if os.geteuid() != 0:
        assert "permission denied" in why["closed.py"]


def damage(pyc: Path, how: str) -> None:
    content = pyc.read_bytes()
    if how == "truncated":
        pyc.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        pyc.write_bytes(b"")
    elif how == "other version":
        pyc.write_bytes((3394).to_bytes(2, "little") + content[2:])
    elif how == "garbage":
        pyc.write_bytes(content[:16] + os.urandom(len(content) - 16))


@pytest.mark.parametrize("how", ["fresh", "truncated", "empty", "other version", "garbage"])
def test_a_pyc_is_used_when_it_can_be(cli: Run, tree: Path, how: str):
    path = write(tree, "a.py")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    pyc = Path(py_compile.compile(str(path)) or "")
    damage(pyc, how)
    assert summary(cli, "precompile", tree)["instrumented"] == 1


def test_a_fresh_pyc_is_used_in_place_of_compiling(cli: Run, tree: Path, tmp_path: Path):
    path = write(tree, "a.py", "x = 'source'\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    pyc = Path(py_compile.compile(str(path)) or "")
    code = compile("x = 'compiled'\n", "a.py", "exec")
    pyc.write_bytes(pyc.read_bytes()[:16] + marshal.dumps(code))
    summary(cli, "precompile", tree)
    (pack,) = packs(tmp_path)
    assert b"compiled" in pack.read_bytes()


def test_pycache_prefix_is_honoured(cli: Run, tree: Path, tmp_path: Path):
    path = write(tree, "a.py")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    prefix = tmp_path / "prefix"
    env = {"PYTHONPYCACHEPREFIX": str(prefix)}
    subprocess.run([sys.executable, "-m", "py_compile", path], env=os.environ | env, check=True)
    (pyc,) = prefix.rglob("a.*.pyc")
    code = compile("x = 'from the prefix'\n", "a.py", "exec")
    pyc.write_bytes(pyc.read_bytes()[:16] + marshal.dumps(code))
    summary(cli, "precompile", tree, env=env)
    (pack,) = packs(tmp_path)
    assert b"from the prefix" in pack.read_bytes()


def test_a_full_disk_fails_the_files_and_keeps_what_was_there(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "before.py")
    summary(cli, "precompile", tree)
    for number in range(20):
        write(tree, f"m{number}.py", GOOD * 200 + f"x = {number}\n")
    report = summary(cli, "precompile", tree, status=1, limit=4096)
    assert (report["instrumented"], report["up_to_date"]) == (0, 1)
    assert len(report["failed"]) == 20
    why = reasons(report["failed"])["m0.py"]
    assert str(tmp_path / "store") in why
    assert "--cache-dir" in why
    assert len(packs(tmp_path)) == 1
    assert summary(cli, "precompile", tree)["instrumented"] == 20


def test_many_files_with_one_reason_take_one_line(cli: Run, tree: Path):
    for number in range(20):
        write(tree, f"m{number}.py", GOOD * 200 + f"x = {number}\n")
    done = cli("precompile", tree, status=1, limit=4096)
    assert "and 19 more: was not stored: " in done.stdout


def test_a_store_that_others_can_write_is_refused(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(0o777)
    done = cli("precompile", tree, status=2)
    assert str(store) in done.stderr
    assert "chmod" in done.stderr
    assert stat.S_IMODE(store.stat().st_mode) == 0o777
    assert list(store.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_store_of_another_user_is_refused(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    os.chown(store, 12345, 12345)
    done = cli("precompile", tree, status=2)
    assert str(store) in done.stderr
    assert "12345" in done.stderr


def test_a_store_that_cannot_be_made_is_told(cli: Run, tree: Path):
    write(tree, "a.py")
    done = cli("precompile", tree, "--cache-dir", "/proc/dapper", status=2)
    assert "/proc/dapper" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_read_only_store_is_used_and_told(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    write(tree, "b.py", GOOD * 2)
    folders = [path for path in (tmp_path / "store").rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        report = summary(cli, "precompile", tree, status=1)
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert report["up_to_date"] == 1
    assert "read-only" in reasons(report["failed"])["b.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "precompile"),
        (["precompile"], "<PATH>"),
        (["precompile", "--jobs", "0", "."], "0 jobs would do nothing"),
        (["precompile", "--jobs", "many", "."], "from 1 to 1024"),
        (["precompile", "--exclude", "a[", "."], "--exclude"),
        (["precompile", "--timeout", "soon", "."], "not a number of seconds"),
        (["precompile", "--python", "/nowhere/python", "."], "/nowhere/python"),
        (["precompile", "--python", "false", "."], "does not behave like a Python"),
        (["precompile", "--breakpoints", "/nowhere.toml", "."], "/nowhere.toml"),
        (["frobnicate"], "frobnicate"),
        (["dis", "--line", "0", "a.py"], "--line"),
    ],
)
def test_wrong_use_is_told(cli: Run, arguments: list[str], message: str):
    assert message in cli(*arguments, status=2).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[breakpoint]\n", "line 1"),
        ("[[breakpoint]]\nfile = 'a.py'\nline = 0\n", "lines count from 1"),
        ("[[breakpoint]]\nfile = 'a.py'\nlin = 1\n", "lin"),
        ("[[breakpoint]]\nfile = 'a.py'\nline = 1\nkind = 'jump'\n", "jump"),
        ("[[breakpoint]]\nfile = 'a.py'\nline = 1\nkind = 'log'\n", "message"),
    ],
)
def test_a_wrong_breakpoint_file_is_told(cli: Run, tree: Path, text: str, message: str):
    write(tree, "a.py")
    points = write(tree, "points.toml", text)
    done = cli("precompile", tree, "--breakpoints", points, status=2)
    assert str(points) in done.stderr
    assert message in done.stderr


def test_an_old_interpreter_is_named(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    old = write(tmp_path, "python", "#!/bin/sh\nprintf 'linux 3.8\\ncpython\\n3413\\ntag\\n\\n'\n")
    old.chmod(0o755)
    done = cli("precompile", tree, "--python", old, status=2)
    assert f"{old} is cpython 3.8 (magic number 3413)" in done.stderr


# --- lines, dis, verify, completions, help


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
