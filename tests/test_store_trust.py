"""Whose stores are used, and what of the environment counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.launch import environment, python, write

OWNER, NOBODY = 12_345, 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
# What is compiled is not in the store: nobody else can have written a `.pyc` beside the module.
PROGRAM = """\
import os, re, runpy, sys
compiled = []
def audit(event, args):
    if event == "compile":
        compiled.append(args[1])
sys.addaudithook(audit)
import dapper
dapper.start(dapper.Config({config}))
point = dapper.add_breakpoint("mod.py", 2, kind="count")
other = dapper.add_breakpoint("other.py", 2, kind="count")
user = int(sys.argv[1])
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
# Lines of breakpoints are found by compiling.
compiled.clear()
import mod, other as second
print(mod.f(1), second.f(1), point.hits, other.hits, any("mod.py" in str(c) for c in compiled))
"""


@pytest.fixture
def folder():
    # Other users have to reach it, which they cannot below pytest's own folders.
    path = Path(tempfile.mkdtemp(prefix="dapper-trust-"))
    path.chmod(0o755)
    write(path, mod="def f(x):\n    return x\n", other="def f(x):\n    return x + 1\n")
    yield path
    shutil.rmtree(path)


def fill(folder: Path) -> Path:
    """Make a store that its owner lets others read."""
    store = folder / "store"
    command = ["-m", "dapper.instrument_cli", "precompile", str(folder / "mod.py")]
    done = python(*command, "--cache-dir", store, cwd=folder)
    assert done.status == 0, done.err
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for path in [store, *store.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.chown(path, OWNER, OWNER)
    return store


def run(folder: Path, config: str, user: int = NOBODY, **variables: str) -> tuple[str, list[str]]:
    write(folder, app=PROGRAM.format(config=config))
    done = python("-B", "app.py", str(user), cwd=folder, **variables)
    assert done.status == 0, done.err
    return done.out.strip(), done.err.splitlines()


@needs_root
@pytest.mark.parametrize("user", [NOBODY, 0])
def test_a_store_of_another_user_is_refused_with_one_warning(folder, user):
    store = fill(folder)
    out, told = run(folder, f"cache_dir={str(store)!r}", user)
    assert out == "1 2 1 1 True"
    (warning,) = told
    assert str(store) in warning
    assert f"belongs to user {OWNER}, not to user {user}" in warning
    assert "DAPPER_CACHE_TRUST" in warning


@needs_root
@pytest.mark.parametrize("user", [NOBODY, 0, OWNER])
@pytest.mark.parametrize("way", ["option", "environment", "among others"])
def test_a_store_is_shared_by_explicit_trust(folder, way, user):
    store = fill(folder)
    before = sorted(store.rglob("*"))
    config, trusted = f"cache_dir={str(store)!r}", ""
    if way == "option":
        config += f", trusted_stores=[{str(store)!r}]"
    else:
        trusted = str(store) if way == "environment" else f"/nowhere:{store}/:/else"
    out, told = run(folder, config, user, DAPPER_CACHE_TRUST=trusted)
    assert out == "1 2 1 1 False", told
    assert told == []
    # `-B` keeps its owner from writing; nobody else ever does.
    assert sorted(store.rglob("*")) == before
    assert {path.stat().st_uid for path in before} == {OWNER}


@needs_root
@pytest.mark.parametrize("trusted", ["/nowhere", "{store}/v2", "{folder}"])
def test_trust_in_another_folder_is_none_in_this_one(folder, trusted):
    store = fill(folder)
    trusted = trusted.format(store=store, folder=folder)
    out, told = run(folder, f"cache_dir={str(store)!r}", DAPPER_CACHE_TRUST=trusted)
    assert (out, len(told)) == ("1 2 1 1 True", 1)


@needs_root
@pytest.mark.parametrize("what", ["root", "directory", "pack"])
@pytest.mark.parametrize("how", ["writable", "third party"])
def test_trust_ends_where_somebody_else_could_write(folder, what, how):
    store = fill(folder)
    (pack,) = store.rglob("*.pack")
    path = {"root": store, "directory": pack.parent, "pack": pack}[what]
    if how == "writable":
        path.chmod(path.stat().st_mode | 0o002)
    elif what == "root":
        os.chown(path, NOBODY - 1, NOBODY - 1)
        path.joinpath("v2").chmod(0o755)
    else:
        os.chown(path, NOBODY - 1, NOBODY - 1)
    out, told = run(folder, f"cache_dir={str(store)!r}", DAPPER_CACHE_TRUST=str(store))
    assert out == "1 2 1 1 True"
    (warning,) = told
    assert "chmod -R go-w" in warning if how == "writable" else "belongs to user" in warning


def test_a_link_in_place_of_the_store_is_not_followed(folder):
    (folder / "elsewhere").mkdir(mode=0o700)
    (folder / "store").symlink_to(folder / "elsewhere")
    command = ["-m", "dapper.instrument_cli", "precompile", folder / "mod.py"]
    done = python(*command, "--cache-dir", folder / "store", cwd=folder)
    assert done.status == 2
    assert f"{folder / 'store'}: it is a symbolic link" in done.err
    assert list((folder / "elsewhere").iterdir()) == []


LOOK = """\
import os, sys
from dapper import _engine
print(_engine.cache_dir())
print(_engine.variable("DAPPER_LOG_TO"), _engine.variable("DAPPER_CACHE_TRUST"))
from dapper._frame_eval.config import FrameEvalConfig
print(FrameEvalConfig().enabled)
"""


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_the_environment_does_not_count_under_these_flags(folder, flag):
    home = folder / "home"
    home.mkdir()
    variables = {
        "HOME": str(home),
        "XDG_CACHE_HOME": "",
        "DAPPER_CACHE_DIR": str(folder / "named"),
        "DAPPER_CACHE_TRUST": "/trusted",
        "DAPPER_LOG_TO": "stdout",
        "DAPPER_USE_FRAME_EVAL": "1",
    }
    write(folder, look=LOOK)
    ours, usual = str(folder / "named"), str(home / ".cache" / "dapper")
    assert python("look.py", cwd=folder, **variables).out.split() == [
        *(ours, "stdout", "/trusted", "True"),
    ]
    assert python(flag, "look.py", cwd=folder, **variables).out.split() == [
        *(usual, "None", "None", "False"),
    ]
    command = ["-m", "dapper.instrument_cli", "precompile", folder / "mod.py"]
    done = python(flag, *command, cwd=folder, **variables)
    assert done.status == 0, done.err
    assert f"store: {usual}" in done.out
    assert not (folder / "named").exists()


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_nothing_starts_under_these_flags(folder, flag):
    (folder / "points.toml").write_text("")
    variables = {
        "DAPPER": "run",
        "DAPPER_SESSION": "{}",
        "DAPPER_BREAKPOINTS": str(folder / "points.toml"),
    }
    code = "import sys; print(any(name.startswith('dapper.') for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, flag, "-c", code],
        env=environment(**variables),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert python("-c", code, cwd=folder, **variables).out == "True\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DAPPER_CACHE_MAX_SIZE", "much"), ("DAPPER_CACHE_MAX_AGE", "30")],
)
def test_a_limit_that_is_none_is_told(folder, name, value):
    command = ["-m", "dapper.instrument_cli", "precompile", folder / "mod.py"]
    store = str(folder / "store")
    done = python(*command, cwd=folder, **{name: value, "DAPPER_CACHE_DIR": store})
    assert done.status == 2
    assert f'error: {name}: "{value}" is not' in done.err
    script = ["-m", "dapper", "run", "--count", "mod.py:2", "use.py"]
    write(folder, use="import mod\nmod.f(1)\n")
    done = python(*script, cwd=folder, **{name: value, "DAPPER_CACHE_DIR": store})
    assert done.status == 0
    assert f'{name}: "{value}" is not' in done.err
    assert "was hit 1 times" in done.err


def test_the_store_of_a_program_is_kept_within_its_limit(folder):
    store = folder / "store"
    write(folder, use="import mod\nmod.f(1)\n")
    script = ["-m", "dapper", "run", "--count", "mod.py:2", "use.py"]
    for limit, entries in [("none", 1), ("none", 2), ("1", 1), ("1", 1)]:
        variables = {"DAPPER_CACHE_DIR": str(store), "DAPPER_CACHE_MAX_SIZE": limit}
        # What was written just now stays; two hours pass between the runs.
        for path in store.rglob("*"):
            os.utime(path, (path.stat().st_mtime - 7200,) * 2)
        number = len(list(store.rglob("*.entry")))
        # Compiled code of an edit within the second would not be kept.
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        (folder / "mod.py").write_text(f"def f(x):\n    return {limit!r}, {number}, {entries}\n")
        assert python(*script, cwd=folder, **variables).status == 0
        assert len(list(store.rglob("*.entry"))) == entries
