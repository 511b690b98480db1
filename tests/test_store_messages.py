"""What `dapper-instrument` says of a store that is not as it should be, and commands at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.instrument import Run, cli, packs, summary, tree, write

__all__ = ["cli", "tree"]


def test_a_store_of_a_newer_format_is_left_alone_and_named(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    newer = tmp_path / "store" / "v9"
    newer.mkdir(parents=True, mode=0o700)
    (tmp_path / "store").chmod(0o700)
    (newer / "memo").write_bytes(b"whatever it is")
    done = cli("precompile", tree)
    assert "1 file instrumented" in done.stdout
    assert f"note: {newer} was written by a later version of dapper" in done.stdout
    assert "remove it" in done.stdout
    assert (newer / "memo").read_bytes() == b"whatever it is"
    (note,) = summary(cli, "precompile", tree)["notes"]
    assert str(newer) in note


def test_a_pack_of_an_unknown_version_is_left_alone_and_named(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    (pack,) = packs(tmp_path)
    content = bytearray(pack.read_bytes())
    content[8] = 7
    pack.unlink()
    # The name of a pack is made of its content.
    pack = write(pack.parent, "0123.pack", bytes(content))
    report = summary(cli, "precompile", tree)
    assert report["instrumented"] == 1
    (note,) = report["notes"]
    assert note.startswith(f"{pack} is not used: written in another format: format 7")
    assert "use the version that wrote it, or remove it" in note
    assert pack.read_bytes() == content
    assert summary(cli, "precompile", tree)["up_to_date"] == 1


def test_a_damaged_pack_is_named_with_the_way_out(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    (pack,) = packs(tmp_path)
    pack.write_bytes(pack.read_bytes()[:-1])
    write(tree, "b.py", "x = 'b'\n")
    report = summary(cli, "precompile", tree)
    assert report["instrumented"] == 2
    (note,) = report["notes"]
    assert str(pack) in note
    assert "cut short" in note
    assert "dapper-instrument cache verify --repair" in note


def test_a_damaged_pack_is_replaced_by_its_equal(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    summary(cli, "precompile", tree)
    (pack,) = packs(tmp_path)
    sound = pack.read_bytes()
    pack.write_bytes(sound[:-1])
    report = summary(cli, "precompile", tree)
    assert (report["instrumented"], report.get("notes", [])) == (1, [])
    assert pack.read_bytes() == sound


def test_a_store_that_is_a_file_is_told(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "a.py")
    file = write(tmp_path, "file", "mine\n")
    done = cli("precompile", tree, "--cache-dir", file, status=2)
    assert f"{file}: it is not a directory; remove it or name another directory" in done.stderr
    assert file.read_text() == "mine\n"
    below = file / "store"
    done = cli("precompile", tree, "--cache-dir", below, status=2)
    assert f"cannot open the store at {below}" in done.stderr
    assert "choose another directory" in done.stderr


def test_commands_at_once_lose_nothing(tree: Path, tmp_path: Path):
    for number in range(60):
        write(tree, f"m{number}.py", f"x = {number}\n")
    store = tmp_path / "store"
    command = [sys.executable, "-m", "dapper.instrument_cli", "precompile", str(tree), "--json"]
    running = [
        subprocess.Popen(
            [*command, "--cache-dir", str(store), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for options in ([], ["--every-line"], [], ["--jobs", "1"])
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        report = json.loads(out)
        assert (process.returncode, err, report["failed"]) == (0, "", [])
        assert report["instrumented"] + report["up_to_date"] == 60
    for options in ([], ["--every-line"]):
        done = subprocess.run(
            [*command, "--cache-dir", str(store), *options],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["up_to_date"] == 60


def test_collecting_beside_preparing_loses_nothing(tree: Path, tmp_path: Path):
    for number in range(40):
        write(tree, f"m{number}.py", f"x = {number}\n")
    store = ["--cache-dir", str(tmp_path / "store")]
    command = [sys.executable, "-m", "dapper.instrument_cli"]
    lines = [
        [*command, "precompile", *store, "--json", *options, str(tree)]
        for options in ([], ["--every-line"], ["--jobs", "1"])
    ]
    collect = [*command, "cache", "gc", "--max-size", "1G", *store]
    running = [
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in (lines[0], collect, lines[1], collect, lines[2], collect)
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        # One that collects at a time; the other says so.
        assert process.returncode == 0 or "another process" in err, out + err
    for line in lines:
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["up_to_date"] == 40


def test_a_killed_command_leaves_a_store_that_works(cli: Run, tree: Path, tmp_path: Path):
    for number in range(40):
        write(tree, f"m{number}.py", f"x = {number}\n" * 50)
    command = [sys.executable, "-m", "dapper.instrument_cli", "precompile", str(tree)]
    for delay in (0.02, 0.1, 0.2, 0.3):
        process = subprocess.Popen(
            [*command, "--cache-dir", str(tmp_path / "store")], stdout=subprocess.DEVNULL
        )
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    report = summary(cli, "precompile", tree)
    assert report["instrumented"] + report["up_to_date"] == 40
    assert "notes" not in report
    left = [path for path in (tmp_path / "store").rglob(".tmp-*") if path.is_file()]
    for path in left:
        os.utime(path, (1, 1))
    write(tree, "another.py", "x = 'another'\n")
    for path in (tmp_path / "store").rglob("tidied"):
        os.utime(path, (1, 1))
    assert summary(cli, "precompile", tree)["instrumented"] == 1
    assert not [path for path in left if path.exists()], "what the dead left behind is swept"
