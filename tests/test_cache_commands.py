"""`dapper-instrument cache` on real stores: what it tells, what it keeps, what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.instrument import Run, cli, packs, summary, tree, write

__all__ = ["cli", "tree"]

STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGE = STDLIB / "email"
TAG = f"{sys.implementation.cache_tag}-"


@pytest.fixture
def filled(cli: Run, tmp_path: Path) -> Path:
    """A store with a real package in it, with and without probes; its directory."""
    cli("precompile", PACKAGE)
    cli("precompile", "--every-line", PACKAGE)
    return tmp_path / "store"


def entries(run: Run, *arguments: str | Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = summary(run, "cache", "list", *arguments)["entries"]
    return listed


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_path_is_where_the_store_is(cli: Run, tmp_path: Path):
    assert cli("cache", "path").stdout == f"{tmp_path / 'store'}\n"
    assert summary(cli, "cache", "path") == {"path": str(tmp_path / "store"), "exists": False}
    given = cli("cache", "path", "--cache-dir", tmp_path / "elsewhere").stdout
    assert given == f"{tmp_path / 'elsewhere'}\n"


def test_info_of_no_store_makes_none(cli: Run, tmp_path: Path):
    info = summary(cli, "cache", "info")
    assert (info["exists"], info["bytes"], info["interpreters"]) == (False, 0, [])
    assert cli("cache", "verify").stdout == "0 entries (0 bytes): all sound\n"
    assert cli("cache", "list").stdout == ""
    assert summary(cli, "cache", "gc", "--max-size", "0")["files"] == 0
    assert summary(cli, "cache", "clear")["files"] == 0
    assert not (tmp_path / "store").exists()


def test_info_counts_what_is_there(cli: Run, filled: Path):
    (filled / "v9").mkdir()
    info = summary(cli, "cache", "info")
    (part,) = info["interpreters"]
    assert part["tag"].startswith(TAG)
    assert part["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert (part["packs"], part["overlay_files"], part["temporary_files"]) == (2, 0, 0)
    # Files of equal content share an entry.
    contents = {path.read_bytes() for path in sources()}
    assert part["entries"] == 2 * len(contents)
    files = [path for path in filled.rglob("*") if path.suffix == ".pack" or path.name == "memo"]
    assert info["bytes"] == sum(path.stat().st_size for path in files)
    assert (info["format"], info["other_formats"], info["problems"]) == (2, [9], [])
    assert (info["limits"]["max_bytes"], info["limits"]["max_age"]) == (1 << 30, 90 * 86400)
    text = cli("cache", "info", env={"DAPPER_CACHE_MAX_SIZE": "none"}).stdout
    assert "kept: any size, 90 d after the last use" in text
    assert f"store: {filled}\n" in text
    assert "beside it: format 9" in text


def test_info_tells_what_is_not_used(cli: Run, filled: Path, tmp_path: Path):
    one, other = packs(tmp_path)
    one.chmod(0o666)
    flip(other, 20)
    problems = {Path(found["file"]): found["reason"] for found in problems_of(cli)}
    assert "lets other users write" in problems[one]
    assert "checksum of the header" in problems[other]


def problems_of(run: Run) -> list[dict[str, str]]:
    problems: list[dict[str, str]] = summary(run, "cache", "info")["problems"]
    return problems


def test_list_tells_sources_and_variants(cli: Run, filled: Path):
    listed = entries(cli, "--path", "**/email/message.py")
    assert [entry["variant"] for entry in listed] == ["every line", "plain"]
    for entry in listed:
        assert entry["path"] == str(PACKAGE / "message.py")
        assert entry["python"] == f"CPython {sys.version_info[0]}.{sys.version_info[1]}"
        assert entry["bytes"] > 1000
        assert entry["age"] < 600
        assert len(entry["source"]) == len(entry["key"]) == 64
        assert Path(entry["file"]).is_file()
    assert entries(cli, "--path", "**/nothing.py") == []
    assert len(entries(cli)) > len(entries(cli, "--path", "**/mime/*.py")) > 2
    assert str(PACKAGE / "message.py") in cli("cache", "list").stdout


def test_parts_are_chosen_by_interpreter(cli: Run, filled: Path, pythons: dict[str, Path]):
    for version, python in pythons.items():
        cli("precompile", "--python", python, PACKAGE / "charset.py")
        info = summary(cli, "cache", "info", "--python", python)
        assert [part["python"] for part in info["interpreters"]] == [version]
    tags = [part["tag"] for part in summary(cli, "cache", "info")["interpreters"]]
    assert len(tags) == len(pythons)
    assert {entry["tag"] for entry in entries(cli, "--tag", tags[0])} == {tags[0]}
    before = len(entries(cli, "--tag", tags[-1]))
    assert summary(cli, "cache", "clear", "--tag", tags[0])["files"] >= 1
    assert entries(cli, "--tag", tags[0]) == []
    assert len(entries(cli, "--tag", tags[-1])) == before
    absent = cli("cache", "list", "--tag", "cpython-399-1", status=2).stderr
    assert "has nothing for cpython-399-1" in absent
    assert tags[0] in absent
    assert "such as cpython-313-3571" in cli("cache", "list", "--tag", "x", status=2).stderr


def test_verify_finds_damage_and_repair_keeps_the_rest(cli: Run, filled: Path, tmp_path: Path):
    before = len(entries(cli))
    assert summary(cli, "cache", "verify")["damage"] == []
    damaged = packs(tmp_path)[0]
    flip(damaged, 64)
    report = summary(cli, "cache", "verify", status=1)
    (found,) = report["damage"]
    assert found["file"] == str(damaged)
    assert found["source"].startswith(str(PACKAGE))
    assert "checksum of the entry" in found["reason"]
    assert "mend what can be mended with --repair" in cli("cache", "verify", status=1).stdout
    repaired = summary(cli, "cache", "verify", "--repair")
    assert (repaired["repaired_files"], repaired["left"]) == (1, [])
    (lost,) = repaired["lost"]
    assert lost["path"] == found["source"]
    assert summary(cli, "cache", "verify")["damage"] == []
    assert len(entries(cli)) == before - 1
    # What was lost, precompile makes again.
    options = ["--every-line"] if lost["variant"] == "every line" else []
    assert summary(cli, "precompile", *options, PACKAGE)["instrumented"] >= 1
    assert len(entries(cli)) == before


def test_repair_survives_a_lost_header_and_a_damaged_memo(cli: Run, filled: Path, tmp_path: Path):
    before = entries(cli)
    for pack in packs(tmp_path):
        flip(pack, 30)
    flip(filled / "v2" / "memo", 200)
    report = summary(cli, "cache", "verify", status=1)
    assert len(report["damage"]) == 3
    repaired = summary(cli, "cache", "verify", "--repair")
    assert (repaired["lost"], repaired["lost_of_unknown_source"]) == ([], 0)
    assert repaired["kept"] == len(before)
    keep = ("path", "key", "variant", "bytes", "source")
    after = [[entry[name] for name in keep] for entry in entries(cli)]
    assert after == [[entry[name] for name in keep] for entry in before]
    assert "repaired" not in cli("cache", "verify", "--repair").stdout


def test_repair_leaves_what_others_could_have_written(cli: Run, filled: Path, tmp_path: Path):
    pack = packs(tmp_path)[0]
    pack.chmod(0o666)
    done = cli("cache", "verify", "--repair", status=1)
    assert f"left: {pack}: not trusted" in done.stdout
    assert pack.exists()


def test_gc_removes_what_was_not_used_for_longest(cli: Run, filled: Path, tmp_path: Path):
    one, other = packs(tmp_path)
    nothing = summary(cli, "cache", "gc")
    assert (nothing["files"], nothing["merged"]) == (0, 0)
    os.utime(one, (1, 1))
    removed = summary(cli, "cache", "gc", "--max-age", "30d")
    assert (removed["files"], one.exists(), other.exists()) == (1, False, True)
    assert summary(cli, "cache", "gc", "--max-size", "1K")["files"] == 1
    assert packs(tmp_path) == []
    for option, wrong in [("--max-size", "much"), ("--max-age", "30"), ("--max-size", "1.5G")]:
        assert option in cli("cache", "gc", option, wrong, status=2).stderr
    # Without an option the limits are those of every writer.
    cli("precompile", PACKAGE)
    assert summary(cli, "cache", "gc", env={"DAPPER_CACHE_MAX_SIZE": "1K"})["files"] == 1
    wrong = cli("cache", "gc", status=2, env={"DAPPER_CACHE_MAX_SIZE": "much"}).stderr
    assert "DAPPER_CACHE_MAX_SIZE" in wrong


def test_gc_merges_packs(cli: Run, filled: Path, tmp_path: Path):
    before = [entry["key"] for entry in entries(cli)]
    assert summary(cli, "cache", "gc", "--merge")["merged"] == 1
    assert len(packs(tmp_path)) == 1
    assert [entry["key"] for entry in entries(cli)] == before


def test_clear_removes_the_files_of_the_store_only(cli: Run, filled: Path, tmp_path: Path):
    mine = filled / "v2" / "notes.txt"
    mine.write_text("mine")
    marks = {"CACHEDIR.TAG", ".gitignore", mine.name}
    files = [path for path in filled.rglob("*") if path.is_file() and path.name not in marks]
    sizes = [path.stat().st_size for path in files]
    cleared = summary(cli, "cache", "clear")
    assert (cleared["files"], cleared["bytes"]) == (len(sizes), sum(sizes))
    assert [path.exists() for path in files] == [False] * len(files)
    assert mine.exists()
    assert entries(cli) == []
    assert summary(cli, "precompile", PACKAGE)["instrumented"] > 0


def test_an_exported_store_serves_a_copied_tree(cli: Run, filled: Path, tmp_path: Path):
    archive = tmp_path / "store.dapper"
    exported = summary(cli, "cache", "export", "--root", STDLIB, archive)
    assert exported["entries"] == len(entries(cli))
    assert (exported["outside_root"], exported["left_out"]) == (0, [])
    assert exported["archive_bytes"] == archive.stat().st_size < exported["bytes"]
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "email", copy_function=shutil.copyfile)
    there: list[str | Path] = ["--cache-dir", tmp_path / "there"]
    digest = exported["digest"]
    arguments = ["cache", "import", *there, "--digest", digest, "--root", copy, archive]
    (copy / "email" / "message.py").write_text("x = 1\n")
    (copy / "email" / "policy.py").unlink()
    tried = summary(cli, *arguments, "--dry-run")
    assert tried["added"] == exported["entries"]
    n_others = len(sources()) - 2
    assert tried["sources"] == {"same": n_others, "different": 1, "absent": 1}
    assert not (tmp_path / "there").exists()
    imported = summary(cli, *arguments)
    assert (imported["added"], imported["present"]) == (exported["entries"], 0)
    assert (imported["digest"], imported["signature"]) == (digest, "none")
    assert imported["sources"] == tried["sources"]
    for name in ("message.py", "policy.py"):
        shutil.copyfile(PACKAGE / name, copy / "email" / name)
    # All is found by content, whatever the path and the time.
    report = summary(cli, "precompile", *there, copy)
    assert (report["instrumented"], report["failed"]) == (0, [])
    assert report["up_to_date"] == len(sources())
    listed = summary(cli, "cache", "list", *there)["entries"]
    assert all(entry["path"].startswith(str(copy / "email")) for entry in listed)
    again = summary(cli, *arguments)
    assert (again["added"], again["present"]) == (0, exported["entries"])
    assert summary(cli, "cache", "verify", *there)["damage"] == []


def test_exports_of_the_same_entries_are_the_same(cli: Run, filled: Path, tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    first = cli("cache", "export", one).stdout
    cli("cache", "gc", "--merge")
    cli("cache", "export", other)
    assert one.read_bytes() == other.read_bytes()
    (digest,) = (line for line in first.splitlines() if line.startswith("digest: "))
    assert len(digest) == len("digest: blake3:") + 64
    # Nothing of the temporary file stays.
    assert {path.name for path in tmp_path.iterdir()} == {"store", "one", "other"}
    umask = os.umask(0)
    os.umask(umask)
    assert one.stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_export_can_be_narrowed(cli: Run, filled: Path, tmp_path: Path):
    archive = tmp_path / "a"
    narrowed = summary(cli, "cache", "export", "--path", "**/email/mime/*.py", archive)
    assert narrowed["entries"] == len(entries(cli, "--path", "**/email/mime/*.py"))
    nothing = cli("cache", "export", "--path", "**/x.py", tmp_path / "b", status=1)
    assert "has nothing to export" in nothing.stderr
    assert "precompile" in nothing.stderr
    assert not (tmp_path / "b").exists()


def test_a_signature_is_made_demanded_and_checked(cli: Run, filled: Path, tmp_path: Path):
    archive = tmp_path / "a"
    there: list[str | Path] = ["--cache-dir", tmp_path / "there"]

    def key(text: str) -> dict[str, str]:
        return {"DAPPER_CACHE_KEY": text}

    exported = summary(cli, "cache", "export", archive, env=key("the key"))
    assert exported["signed"] is True
    assert b"the key" not in archive.read_bytes()
    wrong = cli("cache", "import", *there, archive, status=1, env=key("another"))
    assert "signature does not match" in wrong.stderr
    assert "another" not in wrong.stderr.replace("with another key", "")
    assert not (tmp_path / "there").exists()
    told = cli("cache", "import", *there, "--dry-run", archive).stdout
    assert "is signed, which was not checked: DAPPER_CACHE_KEY is not set" in told
    assert f"would add {exported['entries']} entries (" in told
    right = summary(cli, "cache", "import", *there, archive, env=key(" the key\n"))
    assert right["signature"] == "verified"
    cli("cache", "export", archive)
    unsigned = cli("cache", "import", *there, archive, status=1, env=key("the key"))
    assert "it is not signed" in unsigned.stderr
    empty = cli("cache", "import", *there, archive, status=2, env=key(""))
    assert "DAPPER_CACHE_KEY is set but empty" in empty.stderr


@pytest.mark.parametrize("how", ["cut", "flipped", "longer", "not one", "empty"])
def test_a_damaged_archive_leaves_nothing(cli: Run, filled: Path, tmp_path: Path, how: str):
    archive = tmp_path / "a"
    cli("cache", "export", archive)
    content = archive.read_bytes()
    archive.write_bytes(
        {
            "cut": content[:-100],
            "flipped": content[:500] + bytes([content[500] ^ 4]) + content[501:],
            "longer": content + b"\n",
            "not one": b"PK\x03\x04 and so on",
            "empty": b"",
        }[how]
    )
    message = {
        "cut": "cut short",
        "flipped": "do not match the digest",
        "longer": "1 bytes follow",
        "not one": "not an archive of a store",
        "empty": "cut short",
    }[how]
    there = tmp_path / "there"
    refused = cli("cache", "import", "--cache-dir", there, archive, status=1).stderr
    assert str(archive) in refused
    assert message in refused
    assert not there.exists()


def test_an_archive_that_is_of_no_use_is_refused(cli: Run, filled: Path, tmp_path: Path):
    archive = tmp_path / "a"
    there: list[str | Path] = ["--cache-dir", tmp_path / "there"]
    cli("cache", "export", archive)
    content = archive.read_bytes()
    later = content[:8] + (9).to_bytes(2, "little") + content[10:]
    archive.write_bytes(later)
    refused = cli("cache", "import", *there, archive, status=1).stderr
    assert "store format 9" in refused
    assert "needs format 2" in refused
    archive.write_bytes(content)
    absent = cli("cache", "import", *there, "--tag", "cpython-399-1", archive, status=1).stderr
    assert f"holds code for {TAG}" in absent
    assert "not for an interpreter that is asked for" in absent
    digest = "blake3:" + hashlib.sha256(b"").hexdigest()
    other = cli("cache", "import", *there, "--digest", digest, archive, status=1).stderr
    assert digest in other
    assert "another archive" in other
    wrong = cli("cache", "import", "--digest", "sha256:00", archive, status=2).stderr
    assert "expected blake3:" in wrong
    large = cli("cache", "import", *there, "--max-size", "1K", archive, status=1).stderr
    assert "larger than the limit of 1024" in large
    assert not (tmp_path / "there").exists()


def test_wrong_files_are_named(cli: Run, filled: Path, tmp_path: Path):
    archive, link, fifo = tmp_path / "a", tmp_path / "link", tmp_path / "fifo"
    cli("cache", "export", archive)
    link.symlink_to(archive)
    os.mkfifo(fifo)
    for path, message in [
        (tmp_path / "none", "No such file"),
        (tmp_path, "is not a regular file"),
        (fifo, "is not a regular file"),
        (link, "is a symbolic link"),
    ]:
        refused = cli("cache", "import", path, status=1).stderr
        assert str(path) in refused
        assert message in refused
    for path, message in [
        (tmp_path / "none" / "a", "No such file"),
        (tmp_path, "is not a regular file"),
        (link, "is a symbolic link"),
    ]:
        refused = cli("cache", "export", path, status=2).stderr
        assert str(path) in refused
        assert message in refused
    root = cli("cache", "export", "--root", archive, tmp_path / "b", status=2).stderr
    assert "it is not a directory" in root
    no_store = cli("cache", "info", "--cache-dir", archive, status=2).stderr
    assert f"the store at {archive}" in no_store
    assert "not a directory" in no_store


def test_a_full_disk_leaves_neither_half(cli: Run, filled: Path, tmp_path: Path):
    archive, there = tmp_path / "a", tmp_path / "there"
    full = cli("cache", "export", archive, status=1, limit=4096).stderr
    assert "cannot be" in full
    assert not archive.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
    cli("cache", "export", archive)
    full = cli("cache", "import", "--cache-dir", there, archive, status=1, limit=8192).stderr
    assert "cannot write to the store" in full
    assert list(there.rglob("*.pack")) == list(there.rglob(".tmp-*")) == []


def test_paths_with_control_characters_do_not_reach_the_terminal(cli: Run, tree: Path):
    write(tree, "a\x1b[31m.py")
    cli("precompile", tree)
    listed = cli("cache", "list").stdout
    assert "a\\u{1b}[31m.py" in listed
    assert "\x1b" not in listed


def test_help_has_examples_and_exit_codes(cli: Run):
    actions = ["path", "info", "list", "verify", "gc", "clear", "export", "import"]
    for action in actions:
        text = cli("cache", action, "--help").stdout
        assert f"dapper-instrument cache {action}" in text
        assert "Exit status: 0" in text
    overview = cli("cache", status=2).stderr
    assert all(f"  {action} " in overview for action in actions)


def test_the_import_hook_uses_an_imported_store(cli: Run, tree: Path, tmp_path: Path):
    write(tree, "module.py", "def f(x):\n    y = x + 1\n    return y\n")
    write(tree, "main.py", "import module\nprint(module.f(1))\n")
    write(tree, "points.toml", "[[breakpoint]]\nfile = 'module.py'\nline = 2\nkind = 'count'\n")
    cli("precompile", "--breakpoints", tree / "points.toml", tree)
    archive, there, copy = tmp_path / "a", tmp_path / "there", tmp_path / "copy"
    cli("cache", "export", "--root", tree, archive)
    cli("cache", "import", "--cache-dir", there, archive)
    shutil.copytree(tree, copy, copy_function=shutil.copyfile)
    env = os.environ | {"DAPPER_CACHE_DIR": str(there)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    events = tmp_path / "events"
    command = [sys.executable, "-m", "dapper", "run", f"--events={events}"]
    done = subprocess.run(
        [*command, "--breakpoints", copy / "points.toml", copy / "main.py"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
    hits = [json.loads(line) for line in events.read_text().splitlines()]
    moved = str(copy / "module.py")
    assert (moved, 2) in [(hit["file"], hit["line"]) for hit in hits if hit["event"] == "hit"]
    # Nothing was compiled, and nothing had to be made.
    assert not (copy / "__pycache__").exists()
    assert list(there.rglob("*.entry")) == []
