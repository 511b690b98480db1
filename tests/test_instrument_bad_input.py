"""`dapper-instrument` and every bad input: the message names the file, the rest is done."""

from __future__ import annotations

import json
import marshal
import os
import py_compile
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.instrument import GOOD, Run, cli, damage, packs, reasons, summary, tree, write

__all__ = ["cli", "tree"]


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


def in_mount_namespace(mount: str, *arguments: str | Path) -> dict[str, Any]:
    """Run the command where `mount` was executed; skip where the system does not allow that."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    cli = [sys.executable, "-m", "dapper.instrument_cli", *arguments, "--json"]
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", *cli],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def test_a_read_only_store_is_used_and_told(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    store = tmp_path / "store"
    summary(cli, "precompile", tree)
    write(tree, "b.py", GOOD * 2)
    mount = f"mount --bind {store} {store} && mount -o remount,ro,bind {store}"
    report = in_mount_namespace(mount, "precompile", tree, "--cache-dir", store)
    assert (report["instrumented"], report["up_to_date"]) == (0, 1)
    why = reasons(report["failed"])["b.py"]
    assert f"the store at {store} is read-only" in why
    assert "--cache-dir" in why


def test_a_full_file_system_is_told(tree: Path, tmp_path: Path):
    for number in range(20):
        write(tree, f"m{number}.py", GOOD * 500 + f"x = {number}\n")
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    mount = f"mount -t tmpfs -o size=128k,mode=700 tmpfs {store}"
    report = in_mount_namespace(mount, "precompile", tree, "--cache-dir", store)
    assert report["instrumented"] == 0
    assert len(report["failed"]) == 20
    assert "No space left on device" in reasons(report["failed"])["m0.py"]


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
