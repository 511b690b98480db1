"""What happens to the store while programs use it: they run as without, and say one thing at most.

`DAPPER_FAULT_ROUNDS` says how often what is random is repeated.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.launch import Outcome, dapper_run, environment, python, write

ROUNDS = int(os.environ.get("DAPPER_FAULT_ROUNDS", "3"))
# What is the same every time is repeated only when that is asked for.
REPEATED = ROUNDS if "DAPPER_FAULT_ROUNDS" in os.environ else 1
N_MODULES = 6
COUNTS = [f"--count=pack/m{number}.py:2" for number in range(N_MODULES)]
PROGRAM = """\
import os, resource, shutil, sys

store, besides, fault = sys.argv[1:]

def files():
    for folder, _, names in os.walk(store):
        yield from (os.path.join(folder, name) for name in names)

results = []
for number in range({n}):
    if number == {n} // 2:
        exec(fault)
    module = __import__(f"pack.m{{number}}", fromlist=["f"])
    results.append(module.f(number))
print(results, sorted(os.listdir(besides)))
"""
FAULTS = {
    "nothing": "",
    "cut short": "for name in files(): os.truncate(name, os.path.getsize(name) // 2)",
    "emptied": "for name in files(): os.truncate(name, 0)",
    "overwritten": "for name in files(): open(name, 'r+b').write(b'x' * os.path.getsize(name))",
    "evicted": "for name in files(): os.unlink(name)",
    "removed": "shutil.rmtree(store)",
    "made a file": "shutil.rmtree(store); open(store, 'w').close()",
    "made a link": "os.rename(store, store + '2'); os.symlink(store + '2', store)",
    "opened to all": "for name in [store, *files()]: os.chmod(name, 0o777)",
    "full disk": "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))",
    "descriptors closed": (
        "os.closerange(3, 200); taken = [os.open(besides, os.O_RDONLY) for _ in range(20)]"
    ),
    "one descriptor left": """\
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    os.close(taken.pop())
""",
}


@dataclass(frozen=True)
class Place:
    """A program, and a store with packs and single entries of most of its modules."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def run(self, fault: str = "", **variables: str) -> Outcome:
        """Run the program with breakpoints in all of its modules."""
        arguments = ("app.py", self.store, self.folder / "besides", fault)
        return dapper_run(*COUNTS, *arguments, cwd=self.folder, **variables)

    def copy(self, folder: Path) -> Place:
        """Make another place like this one."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder)


def module(number: int) -> str:
    return f"def f(x):\n    return x * {number}\n\nclass C:\n    name = 'C{number}'\n"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write(folder, app=PROGRAM.format(n=N_MODULES), pack____init__="")
    write(folder, **{f"pack__m{number}": module(number) for number in range(N_MODULES)})
    (folder / "besides").mkdir()
    packed = [str(folder / "pack" / f"m{number}.py") for number in (0, 3)]
    for path in packed:
        command = ["-m", "dapper.instrument_cli", "precompile", path]
        done = python(*command, cwd=folder, DAPPER_CACHE_DIR=str(folder / "store"))
        assert done.status == 0, done.err
    counts = [COUNTS[number] for number in (1, 4)]
    run = dapper_run(*counts, "app.py", "", "besides", "", cwd=folder)
    assert run.status == 0, run.err
    assert len(list((folder / "store").rglob("*.pack"))) == 2
    assert len(list((folder / "store").rglob("*.entry"))) == 2
    shutil.rmtree(folder / "pack" / "__pycache__")
    return Place(folder)


@pytest.fixture
def place(made, tmp_path):
    return made.copy(tmp_path / "place")


def check(run: Outcome) -> list[str]:
    """The program did what it does, every breakpoint was hit, and there was one warning at most."""
    results = [number * number for number in range(N_MODULES)]
    assert (run.status, run.out) == (0, f"{results} []\n"), run.err
    lines = run.err.splitlines()
    hits = [line for line in lines if "was hit 1 times" in line]
    warnings = [line for line in lines if line not in hits]
    assert len(hits) == N_MODULES, run.err
    assert len(warnings) <= 1, run.err
    return warnings


@pytest.mark.parametrize("name", FAULTS)
def test_no_import_fails_whatever_happens_to_the_store(made, tmp_path, name):
    damaged = ("cut short", "emptied", "overwritten")
    refused = ("made a file", "made a link", "opened to all")
    for round_ in range(REPEATED):
        place = made.copy(tmp_path / str(round_))
        warnings = check(place.run(FAULTS[name]))
        assert name != "nothing" or not warnings
        # The next run finds what this one left.
        after = check(place.run())
        assert bool(after) == (name in (*damaged, *refused)), after
        if name in damaged:
            assert "verify --repair" in after[0]
        shutil.rmtree(place.folder)


def test_random_damage_is_a_miss(made, tmp_path):
    chance = random.Random(5)
    for round_ in range(ROUNDS):
        place = made.copy(tmp_path / str(round_))
        files = [path for path in place.store.rglob("*") if path.is_file()]
        for path in chance.sample(files, 3):
            content = bytearray(path.read_bytes())
            if content and chance.random() < 0.7:
                for _ in range(chance.choice([1, 1, 30])):
                    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            else:
                content = content[: chance.randrange(len(content) + 1)]
            path.write_bytes(content)
        check(place.run())
        check(place.run())
        shutil.rmtree(place.folder)


def test_runs_beside_eviction_and_each_other(made, tmp_path):
    place = made.copy(tmp_path / "place")
    evict = "import pathlib, sys\nwhile True:\n    for f in pathlib.Path(sys.argv[1]).rglob('*.*'):"
    evict += "\n        f.name.endswith(('.pack', '.entry')) and f.unlink(missing_ok=True)"
    evictor = subprocess.Popen([sys.executable, "-c", evict, place.store])
    arguments = ["app.py", str(place.store), "besides", ""]
    command = [sys.executable, "-m", "dapper", "run", *COUNTS, *arguments]
    try:
        for _ in range(ROUNDS):
            runs = [
                subprocess.Popen(
                    command,
                    cwd=place.folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment(DAPPER_CACHE_DIR=str(place.store)),
                )
                for _ in range(3)
            ]
            for run in runs:
                out, err = run.communicate(timeout=60)
                assert check(Outcome(run.returncode, out, err)) == []
    finally:
        evictor.kill()
        evictor.wait()


def test_an_edit_within_the_second_and_wrong_clocks_never_give_old_code(made, tmp_path):
    place = made.copy(tmp_path / "place")
    edited = place.folder / "pack" / "m2.py"
    hour = 3_600_000_000_000
    first = edited.stat().st_mtime_ns
    for round_ in range(max(ROUNDS, 4)):
        # Of one size always; the time stays, is yet to come, or is long ago.
        for step in (0, 0, 24 * 365 * hour, -48 * hour):
            number = 10 + (round_ + step) % 80
            edited.write_text(module(number))
            os.utime(edited, ns=(first, first + step))
            # The interpreter would take its own old code for the new: it gets no chance to.
            run = place.run(PYTHONPYCACHEPREFIX=str(place.folder / f"pyc{round_}{step}{number}"))
            assert run.status == 0, run.err
            assert run.out == f"{[n * (number if n == 2 else n) for n in range(N_MODULES)]} []\n"
            shutil.rmtree(place.folder / f"pyc{round_}{step}{number}", ignore_errors=True)


def mounted(place: Place, mount: str, *arguments: str | Path) -> Outcome:
    """Run the program where `mount` was executed; skip where the system does not allow that."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    program = [sys.executable, "-m", "dapper", "run", *COUNTS, "app.py", *arguments]
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", *program],
        cwd=place.folder,
        env=environment(DAPPER_CACHE_DIR=str(place.store)),
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("mount", "warned"),
    [
        ("mount -t tmpfs -o size=16k,mode=700 tmpfs {store}", True),
        ("mount --bind {store} {store} && mount -o remount,ro,bind {store}", False),
    ],
)
def test_a_full_or_read_only_file_system_is_no_failure(place, mount, warned):
    mount = mount.format(store=place.store)
    for _ in range(REPEATED):
        run = mounted(place, mount, place.store, "besides", "")
        assert bool(check(run)) == warned
        assert not warned or "No space left on device" in run.err
