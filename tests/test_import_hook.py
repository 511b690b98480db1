"""Modules that are imported: what is instrumented, what is left alone, what stays the same."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest
from tests.launch import dapper_run, events, hits, python, write

MODULE = "def g(x):\n    y = x * 2\n    return y\n"
LOOK = """\
import importlib, inspect, pickle, sys
import pack.mod as mod
cached = getattr(mod, "__cached__", None), mod.__spec__.cached
print(type(mod.__loader__).__name__, mod.__file__, cached, mod.__spec__.origin)
print(inspect.getsource(mod.g), mod.g.__code__.co_filename, mod.__spec__.loader is mod.__loader__)
print(mod.g(2), pickle.loads(pickle.dumps(mod.g)) is mod.g, sys.modules["pack.mod"] is mod)
importlib.reload(mod)
print(mod.g(3))
"""


@pytest.fixture
def package(tmp_path):
    write(tmp_path, pack____init__="", pack__mod=MODULE, look=LOOK)
    (tmp_path / "pack" / "__init__.py").touch()
    return tmp_path


def test_a_module_is_what_it_is_without(package):
    plain = python("look.py", cwd=package)
    for _ in ("cold store", "warm store"):
        run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package)
        assert (run.status, run.out) == (0, plain.out)
        assert "pack/mod.py:2 was hit 2 times" in run.err


def test_the_second_run_reads_the_store(package):
    assert dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package).status == 0
    entries = list((package / "store").rglob("*.entry"))
    assert len(entries) == 1
    # The probe would not be there if the variant came from anywhere else.
    (package / "pack" / "__pycache__").rename(package / "gone")
    run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package)
    assert "was hit 2 times" in run.err
    assert not (package / "pack" / "__pycache__").exists() or not list(
        (package / "pack" / "__pycache__").glob("mod.*")
    )


def test_a_module_is_run_by_name(package):
    (package / "pack" / "__main__.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    plain = python("-m", "pack", "-x", cwd=package)
    run = dapper_run("--count", "pack/__main__.py:2", "-m", "pack", "-x", cwd=package)
    assert (run.status, run.out) == (0, plain.out)
    assert "__main__.py:2 was hit 1 times" in run.err


def test_an_edited_source_is_instrumented_anew(package):
    assert dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package).status == 0
    (package / "pack" / "mod.py").write_text("X = 1\n" + MODULE)
    run = dapper_run("--count", "pack/mod.py:3", "look.py", cwd=package)
    assert "mod.py:3 was hit 2 times" in run.err


def test_stale_code_is_run_but_not_kept(package):
    """An edit of the same size within a second: importing runs the old code, and so do we."""
    module, look = package / "pack" / "mod.py", "import pack.mod as m\nprint(m.g(1), m.X)\n"
    write(package, look=look)
    module.write_text(MODULE + "X = 1\n")
    assert python("look.py", cwd=package).out == "2 1\n"
    times = module.stat()
    module.write_text(MODULE + "X = 2\n")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package)
    assert (run.out, run.err.count("was hit 1 times")) == (python("look.py", cwd=package).out, 1)
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns + 5_000_000_000))
    run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package)
    assert (run.out, run.err.count("was hit 1 times")) == ("2 2\n", 1)


def test_a_moved_tree_shows_its_new_path(package):
    first = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package)
    moved = package / "moved"
    moved.mkdir()
    for name in ("pack", "look.py"):
        (package / name).rename(moved / name)
    store = str(package / "store")
    run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=moved, DAPPER_CACHE_DIR=store)
    assert run.out == first.out.replace(str(package), str(moved))
    assert len(list((package / "store").rglob("*.entry"))) == 1


@pytest.mark.parametrize("damage", ["corrupt", "unreadable", "a file", "foreign format"])
def test_a_bad_store_is_no_store(package, damage):
    store = package / "store"
    assert dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package).status == 0
    (entry,) = store.rglob("*.entry")
    if damage == "corrupt":
        content = bytearray(entry.read_bytes())
        content[100] ^= 0xFF
        entry.write_bytes(content)
    elif damage == "unreadable":
        entry.unlink()
        entry.mkdir()
    elif damage == "foreign format":
        entry.write_bytes(b"nothing of ours")
    else:
        store = package / "look.py"
    run = dapper_run(
        "--count", "pack/mod.py:2", "look.py", cwd=package, DAPPER_CACHE_DIR=str(store)
    )
    assert run.status == 0
    assert "mod.py:2 was hit 2 times" in run.err
    assert "Traceback" not in run.err


def test_tracebacks_keep_their_columns_and_hide_the_importer(package):
    write(package, bad="x = 1\ny = (x +\n     None.a)\n", worse="def f(:\n", run="import bad\n")
    (package / "runworse.py").write_text("import worse\n")
    for name in ("bad", "worse"):
        script = "run.py" if name == "bad" else "runworse.py"
        plain = python(script, cwd=package)
        run = dapper_run("--every-line", "*.py", "--events", "e", script, cwd=package)
        assert run == plain


def test_other_loaders_are_left_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.writestr("inzip.py", MODULE)
    write(tmp_path, sourceless=MODULE)
    (tmp_path / "compile.py").write_text(
        "import py_compile; py_compile.compile('sourceless.py', 'sourceless.pyc')"
    )
    assert python("compile.py", cwd=tmp_path).status == 0
    (tmp_path / "sourceless.py").rename(tmp_path / "elsewhere")
    look = """\
import sys
sys.path.insert(0, "zipped.zip")
import inzip, sourceless, json, _json, zipimport
for module in inzip, sourceless, zipimport, _json:
    print(module.__name__, type(module.__loader__).__name__)
print(inzip.g(1), sourceless.g(1))
"""
    write(tmp_path, look=look)
    plain = python("look.py", cwd=tmp_path)
    run = dapper_run("--every-line", "**/*.py", "--events", "e", "look.py", cwd=tmp_path)
    assert run == plain
    assert not [row for row in events(tmp_path / "e") if "zip" in row["file"]]


def test_an_editable_install_through_a_finder(tmp_path):
    write(tmp_path, src__deep__thing=MODULE)
    look = """\
import importlib.util, sys
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "thing":
            return importlib.util.spec_from_file_location(name, "src/deep/thing.py")
sys.meta_path.insert(0, Finder)
import thing
print(thing.g(4))
"""
    write(tmp_path, look=look)
    run = dapper_run("--count", "src/deep/thing.py:2", "look.py", cwd=tmp_path)
    assert (run.out, run.status) == ("8\n", 0)
    assert "thing.py:2 was hit 1 times" in run.err


def test_a_lazy_module(package):
    look = """\
import importlib.util, sys
spec = importlib.util.find_spec("pack.mod")
spec.loader = importlib.util.LazyLoader(spec.loader)
mod = importlib.util.module_from_spec(spec)
sys.modules["pack.mod"] = mod
spec.loader.exec_module(mod)
print(mod.g(5))
"""
    write(package, look=look)
    run = dapper_run("--count", "pack/mod.py:3", "look.py", cwd=package)
    assert run.out == "10\n"
    assert "mod.py:3 was hit 1 times" in run.err


def test_symlinked_modules_are_one_file(package):
    (package / "alias.py").symlink_to("pack/mod.py")
    write(package, look="import alias, pack.mod\nalias.g(1), pack.mod.g(1)\n")
    run = dapper_run("--count", "alias.py:2", "look.py", cwd=package)
    assert "mod.py:2 was hit 2 times" in run.err


def test_rewritten_test_modules_are_reached(tmp_path):
    write(tmp_path, test_it="def test_it():\n    x = 1\n    assert x == 2\n")
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    for _ in ("cold", "warm rewriter"):
        run = dapper_run("--count", "test_it.py:2", *command, cwd=tmp_path)
        assert run.status == 1
        assert "assert 1 == 2" in run.out
        assert "test_it.py:2 was hit 1 times" in run.err


def test_a_file_that_is_never_loaded(package):
    run = dapper_run("--break", "pack/mod.py:2", "-c", "print(1)", cwd=package)
    assert (run.status, run.out) == (0, "1\n")
    assert "mod.py:2 was never reached: no module was loaded from this file" in run.err


def test_a_line_out_of_range(package):
    arguments = ("--count", "pack/mod.py:99", "--events", "e.jsonl", "look.py")
    run = dapper_run(*arguments, cwd=package)
    assert run.status == 0
    (row,) = events(package / "e.jsonl")
    assert not row["verified"]
    assert row["line"] is None
    assert row["reason"] == "no code at or after line 99"


def test_a_line_between_code_snaps_forward(package):
    (package / "pack" / "mod.py").write_text("# comment\n\n" + MODULE)
    arguments = ("--count", "pack/mod.py:1", "--events", "e.jsonl", "look.py")
    assert dapper_run(*arguments, cwd=package).status == 0
    rows = events(package / "e.jsonl")
    assert (rows[-1]["requested_line"], rows[-1]["line"]) == (1, 3)
    assert hits(package / "e.jsonl") == [("<module>", 3)] * 2


def test_without_breakpoints_in_a_module_its_bytecode_is_untouched(package):
    look = "import pack.mod\nprint(pack.mod.g.__code__.co_consts)\n"
    write(package, look=look)
    plain = python("look.py", cwd=package)
    assert dapper_run("--count", "look.py:1", "look.py", cwd=package).out == plain.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of Unix")
def test_no_store_is_written_when_bytecode_is_not(package):
    changes = {"PYTHONDONTWRITEBYTECODE": "1"}
    run = dapper_run("--count", "pack/mod.py:2", "look.py", cwd=package, **changes)
    assert "was hit 2 times" in run.err
    assert not list(package.rglob("*.entry"))
