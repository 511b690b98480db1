"""The wheel as a user gets it: installed into a clean environment of every interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = tuple(json.loads((ROOT / "build" / "pythons.json").read_text())["found"])
# What an interpreter looks like when nobody hooked into it.
STATE = """
import json, sys
monitoring = getattr(sys, "monitoring", None)
tools = [monitoring.get_tool(i) for i in range(6)] if monitoring else []
print(json.dumps({
    "loaded": sorted(name for name in sys.modules if name.partition(".")[0] in WATCHED),
    "finders": [getattr(f, '__name__', type(f).__name__) for f in sys.meta_path],
    "hooks": len(sys.path_hooks),
    "traced": sys.gettrace() is not None or sys.getprofile() is not None,
    "tools": [tool for tool in tools if tool],
    "get_code": sys.modules["_frozen_importlib_external"].SourceFileLoader.get_code.__module__,
}))
""".replace("WATCHED", "('dapper', 'dapper_startup')")


class Installed:
    """A clean environment with the wheel installed in it."""

    def __init__(self, directory: Path, interpreter: Path, wheel: Path) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        subprocess.run([interpreter, "-I", "-m", "venv", directory], check=True)
        self.bare = self.state()
        pip = [
            str(self.python),
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)

    @property
    def site(self) -> Path:
        return next(self.directory.glob("lib/python3.*/site-packages"))

    def run(
        self, *command: str, status: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        clean.pop("DAPPER", None)
        done = subprocess.run(
            [self.directory / "bin" / command[0], *command[1:]],
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=clean | dict(env or {}),
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        return done

    def state(self) -> dict[str, object]:
        state: dict[str, object] = json.loads(self.run("python", "-c", STATE).stdout)
        return state


@pytest.fixture(scope="module", params=VERSIONS)
def installed(request, tmp_path_factory, pythons) -> Installed:
    (wheel,) = (ROOT / "build" / "wheel").glob("*.whl")
    version = request.param
    return Installed(tmp_path_factory.mktemp("wheel") / version, pythons[version], wheel)


def test_imports_from_site_packages(installed):
    where = installed.run("python", "-c", "import dapper, dapper._engine; print(dapper.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed.site)
    assert where.stderr == ""


def test_ships_types(installed):
    assert (installed.site / "dapper" / "py.typed").is_file()
    assert (installed.site / "dapper" / "_engine.pyi").is_file()


@pytest.mark.parametrize("command", ["dapper", "dapper-instrument"])
def test_commands_name_their_version(installed, command):
    version = installed.run(
        "python", "-c", "import importlib.metadata as m; print(m.version('dapper'))"
    ).stdout.strip()
    assert version in installed.run(command, "--version").stdout


@pytest.mark.parametrize("command", ["dapper", "dapper-instrument"])
def test_commands_explain_themselves(installed, command):
    shown = installed.run(command, "--help")
    assert command in shown.stdout
    assert shown.stderr == ""


def test_module_is_a_command(installed):
    assert installed.run("python", "-m", "dapper", "--version").stdout.startswith("dapper ")


def test_startup_files_lie_in_site_packages(installed):
    for name in ("dapper.pth", "dapper.start", "dapper_startup.py"):
        assert (installed.site / name).is_file(), name


def test_startup_does_nothing_unless_asked(installed):
    state = installed.state()
    # 3.15 and later read dapper.start, which names the one module that looks at the environment.
    loaded = state.pop("loaded")
    assert loaded in ([], ["dapper_startup"])
    bare = dict(installed.bare)
    assert bare.pop("loaded") == []
    assert state == bare


def test_startup_is_silent_and_asked_by_the_environment_alone(installed):
    code = "import sys; print('dapper' in sys.modules)"
    for flag in ("-E", "-I"):
        assert installed.run("python", flag, "-c", code, env={"DAPPER": "1"}).stdout == "False\n"
    quiet = installed.run("python", "-X", "dev", "-W", "error", "-c", code)
    assert (quiet.stdout, quiet.stderr) == ("False\n", "")


def test_uninstall_leaves_nothing(installed, tmp_path, pythons):
    wheel = next((ROOT / "build" / "wheel").glob("*.whl"))
    version = installed.run(
        "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
    ).stdout.strip()
    other = Installed(tmp_path / "venv", pythons[version], wheel)
    other.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "dapper")
    left = sorted(path.name for path in other.site.iterdir() if path.name.startswith("dapper"))
    assert left == []
