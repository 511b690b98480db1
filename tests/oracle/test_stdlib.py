"""Modules of the standard library on real input, with a probe on every line of their sources.

As in test_programs.py: the same events in the same order, the same output, the same exit status.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import shutil
from dataclasses import dataclass, replace

import pytest
from tests.oracle.runs import ROOT, Place, Run, difference

INPUTS = ROOT / "fixtures" / "stdlib"
# Tools that print or store modification times must see the same one in every run.
MODIFIED = 1_700_000_000


@dataclass(frozen=True)
class Case:
    """A command, and the modules whose lines are compared."""

    name: str
    command: str
    modules: str
    stdin: str = ""
    status: int = 0

    @property
    def files(self) -> list[str]:
        """The sources of the modules that this version has, and of a driving script."""
        found = [source_of(module) for module in self.modules.split()]
        return [file for file in found if file]


def source_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return spec.origin if spec else None


CASES = (
    Case(
        "json_tool",
        "-m json.tool --sort-keys --indent 2 data.json",
        "json.tool json json.decoder json.encoder json.scanner",
    ),
    Case("json_tool_fails", "-m json.tool text.txt", "json.tool json json.decoder", status=1),
    Case("ast", "-m ast -a sample.py", "ast"),
    Case("tokenize", "-m tokenize -e sample.py", "tokenize token"),
    Case("dis", "-m dis sample.py", "dis opcode"),
    Case("py_compile", "-m py_compile sample.py", "py_compile"),
    Case("py_compile_fails", "-m py_compile text.txt", "py_compile", status=1),
    Case(
        "zipfile_create",
        "-m zipfile -c made.zip sample.py text.txt folder",
        "zipfile zipfile.__main__ zipfile._path",
    ),
    Case("zipfile_list", "-m zipfile -l ready.zip", "zipfile zipfile.__main__ zipfile._path"),
    Case("zipfile_test", "-m zipfile -t text.txt", "zipfile zipfile.__main__", status=1),
    Case("tarfile", "-m tarfile -v -c made.tar sample.py folder", "tarfile"),
    Case("gzip", "-m gzip --best text.txt", "gzip"),
    Case("calendar", "-m calendar -w 3 2024", "calendar"),
    Case("calendar_html", "-m calendar -t html 2023", "calendar"),
    Case("base64", "-m base64 -e text.txt", "base64"),
    Case("quopri", "-m quopri -t text.txt", "quopri"),
    Case("compileall", "-m compileall -f folder", "compileall py_compile filecmp"),
    Case("symtable", "-m symtable sample.py", "symtable"),
    Case("pickletools", "-m pickletools -a -m sample.pickle", "pickletools"),
    Case("tabnanny", "-m tabnanny -v sample.py", "tabnanny tokenize"),
    Case("pyclbr", "-m pyclbr sample.py", "pyclbr"),
    Case("inspect", "-m inspect sample:Child", "inspect"),
    Case("fileinput", "-m fileinput text.txt table.csv", "fileinput"),
    Case("shlex", "-m shlex", "shlex", stdin='a \'b c\' "d\\"e" # f\ng=h'),
    Case(
        "code",
        "-m code",
        "code codeop",
        stdin="x = 1\nprint(x)\n1/0\nfor i in 'ab':\n print(i)\n\n",
    ),
    Case("this", "-m this", "this"),
    Case("textwrap", "drive_textwrap.py text.txt", "textwrap"),
    Case("difflib", "drive_difflib.py text.txt", "difflib"),
    Case("csv", "drive_csv.py table.csv", "csv"),
    Case("pprint", "drive_pprint.py data.json", "pprint"),
    Case("configparser", "drive_configparser.py settings.ini", "configparser"),
    Case("argparse", "drive_argparse.py", "argparse gettext"),
    Case("fractions", "drive_fractions.py", "fractions statistics numbers"),
    Case("html_parser", "drive_html_parser.py", "html.parser _markupbase html"),
)


@pytest.fixture
def place(tmp_path, store) -> Place:
    for source in INPUTS.iterdir():
        if source.is_file():
            shutil.copyfile(source, tmp_path / source.name)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one.py", "two.py"):
        shutil.copyfile(INPUTS / "sample.py", folder / name)
    value = {"list": [1, 2.5, None], "nested": ({"a": "b"},), "big": 1 << 70, "set": frozenset("a")}
    (tmp_path / "sample.pickle").write_bytes(pickle.dumps(value, protocol=4))
    shutil.make_archive(str(tmp_path / "ready"), "zip", folder)
    for path in [*tmp_path.rglob("*"), folder]:
        os.utime(path, (MODIFIED, MODIFIED))
    return Place(tmp_path, store)


def masked(run: Run) -> Run:
    """Return `run` without the addresses of objects, which no two runs share."""
    return replace(run, stdout=re.sub(r"\b0x[0-9a-f]{6,}", "0x", run.stdout))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_line(case, place, tally):
    command = case.command.split()
    files = case.files
    if not command[0].startswith("-"):
        files.append(str(place.directory / command[0]))
        command[0] = files[-1]
    plain = masked(place.plain(command, case.stdin))
    assert plain.status == case.status, plain.stderr
    recorded, expected = place.recorded(command, files, case.stdin)
    assert masked(recorded) == plain, "the recorder disturbs the program"
    assert len(expected) > 5
    probed, events = place.probed(command, files, case.stdin)
    assert not difference(expected, events), difference(expected, events)
    assert masked(probed) == plain
    tally.add(events)
