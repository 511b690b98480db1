"""Breakpoints that are asked for while code is being loaded: before it runs, and not yet there."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
import textwrap
import time
from importlib.machinery import SourceFileLoader

import pytest
from tests.dap_client import PATIENCE, Client
from tests.dap_programs import go_on, running
from tests.launch import ROOT, environment, python, write
from tests.ports import free_port

import dapper
from dapper import _engine

SOURCE = """\
    import sys
    def work(n):
        return n + 1
    total = work(1)
    print(total, sys.argv[1:])
    """
# What the user's own `sitecustomize` does while the interpreter starts.
PAUSE = """\
import os, time
if "DAPPER_SESSION" in os.environ:
    open("begun", "w").close()
    until = time.monotonic() + 60
    while not os.path.exists("go on") and time.monotonic() < until:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("kind", ["script", "module", "folder", "compiled"])
def test_a_client_joins_before_the_program_begins(tmp_path, kind):
    write(tmp_path, sitecustomize=PAUSE)
    source = tmp_path / ("folder/__main__.py" if kind == "folder" else "program.py")
    source.parent.mkdir(exist_ok=True)
    source.write_text(textwrap.dedent(SOURCE))
    compiled = tmp_path / "compiled.pyc"
    py_compile.compile(str(source), str(compiled), doraise=True)
    target = {
        "script": [source.name],
        "module": ["-m", "program"],
        "folder": [source.parent.name],
        "compiled": [compiled.name],
    }
    port = free_port()
    command = ["-m", "dapper", "run", "--listen", str(port), *target[kind], "x"]
    path = os.pathsep.join([str(ROOT / "python"), str(tmp_path)])
    with running(*command, cwd=tmp_path, env=environment(PYTHONPATH=path)) as process:
        client = Client.connect(("127.0.0.1", port))
        client.begin()
        # None at first: what is not asked for now may be later.
        client.set_breakpoints(source)
        told = client.set_breakpoints(source, 3, 4)
        assert not any(point["verified"] for point in told)
        client.request("configurationDone")
        begun, until = tmp_path / "begun", time.monotonic() + PATIENCE
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert begun.exists()
        (tmp_path / "go on").touch()
        for line in (4, 3):
            stop = client.stopped("breakpoint")
            assert client.at(stop)[1] == line
            go_on(client, stop)
        client.event("terminated")
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "2 ['x']\n", "")
        client.close()


UNATTENDED = """\
import time
from dapper import _engine
with open("points.toml", "w") as file:
    file.write("[[breakpoint]]\\nfile = 'program.py'\\nline = 3\\nkind = 'count'\\n")
until = time.monotonic() + 60
while not _engine.breakpoints() and time.monotonic() < until:
    time.sleep(0.01)
"""


def test_a_breakpoint_file_changes_before_the_program_begins(tmp_path):
    write(tmp_path, sitecustomize=UNATTENDED, program=textwrap.dedent(SOURCE))
    (tmp_path / "points.toml").touch()
    bootstrap = str(ROOT / "python" / "dapper" / "bootstrap")
    changes = {
        "PYTHONPATH": os.pathsep.join([bootstrap, str(tmp_path), str(ROOT / "python")]),
        "DAPPER_BREAKPOINTS": str(tmp_path / "points.toml"),
        "DAPPER_CACHE_DIR": str(tmp_path / "store"),
    }
    run = python("program.py", cwd=tmp_path, **changes)
    assert (run.status, run.out) == (0, "2 []\n")
    assert run.err == f"dapper: {tmp_path}/program.py:3 was hit 1 times\n"


def test_nothing_is_hooked_once_the_program_has_begun(tmp_path):
    show = "from dapper import _engine\nprint(_engine.eval_frame_hooked(), _engine.awaits_main())\n"
    (tmp_path / "folder").mkdir()
    for name in ("program.py", "folder/__main__.py"):
        (tmp_path / name).write_text(show)
    py_compile.compile(str(tmp_path / "program.py"), str(tmp_path / "compiled.pyc"), doraise=True)
    for target in ("program.py", "-m program", "folder", "compiled.pyc", f"-c {show}"):
        listen = ["--listen", str(free_port())]
        command = ["-m", "dapper", "run", *listen, *target.split(" ", 1)]
        run = python(*command, cwd=tmp_path, PYTHONPATH=str(ROOT / "python"))
        assert (run.status, run.out, run.err) == (0, "False False\n", ""), target


MODULE = """\
def f(x):
    return x

def g(x):
    return x

first = f(1)
second = g(2)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the module is, while a session is active."""
    write(tmp_path, read_meanwhile=MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    dapper.start(dapper.Config(cache_dir=tmp_path / "store"))
    yield tmp_path
    monkeypatch.undo()
    dapper.stop()
    sys.modules.pop("read_meanwhile", None)


@pytest.mark.parametrize("earlier", [[], [2], [7]], ids=["none", "function", "body"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("line", [2, 5, 8])
def test_a_breakpoint_comes_while_a_module_is_read(folder, monkeypatch, earlier, warm, line):
    file = str(folder / "read_meanwhile.py")
    points = [dapper.add_breakpoint(file, number, kind="count") for number in earlier]

    def path_stats(loader, path):
        if path == file and len(points) == len(earlier):
            points.append(dapper.add_breakpoint(file, line, kind="count"))
        return stats(loader, path)

    if warm:
        importlib.import_module("read_meanwhile")
        del sys.modules["read_meanwhile"]
    if not earlier:
        # The loader is hooked while anything is asked for.
        dapper.add_breakpoint(str(folder / "other.py"), 1, kind="count")
    stats = SourceFileLoader.path_stats
    monkeypatch.setattr(SourceFileLoader, "path_stats", path_stats)
    before = [point.hits for point in points]
    module = importlib.import_module("read_meanwhile")
    assert (module.first, module.second) == (1, 2)
    added = [point.hits - was for point, was in zip(points, [*before, 0], strict=True)]
    assert added == [1] * len(points), [point.reason for point in points]
    assert all(point.verified for point in points)


@pytest.mark.parametrize("earlier", [[], [2], [5], [7], [2, 5]])
@pytest.mark.parametrize("line", [2, 5])
def test_a_breakpoint_comes_between_a_module_and_its_run(folder, monkeypatch, earlier, line):
    file = str(folder / "read_meanwhile.py")
    points = [dapper.add_breakpoint(file, number, kind="count") for number in earlier]

    def call(function, *args, **kwargs):
        if function is exec and args[0].co_filename == file:
            points.append(dapper.add_breakpoint(file, line, kind="count"))
        return function(*args, **kwargs)

    monkeypatch.setattr("importlib._bootstrap._call_with_frames_removed", call)
    module = importlib.import_module("read_meanwhile")
    assert (module.first, module.second) == (1, 2)
    assert [point.hits for point in points] == [1] * (len(earlier) + 1)
    assert (module.f(3), module.g(4)) == (3, 4)
    assert [point.hits for point in points] == [2 if n != 7 else 1 for n in [*earlier, line]]
    assert all(point.verified for point in points)
    assert not _engine.eval_frame_hooked()
