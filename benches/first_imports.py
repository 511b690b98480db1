"""What the first import of a large package costs with a store that was filled elsewhere."""

from __future__ import annotations

import ast
import shutil
from dataclasses import replace
from pathlib import Path

from arms import (
    PROGRAMS,
    SCRATCH,
    Arm,
    BenchError,
    dapper,
    dapper_instrument,
    output,
    python,
    reported,
    rounds_of,
)
from estimate import ratio
from figures import Figure, figure
from instructions import can_count, counted
from stores import filled

PROGRAM = PROGRAMS / "import_package.py"
# Packages that are imported, with those that come with them.
COPIED = {
    "sympy": ("sympy", "mpmath"),
    "django": ("django", "asgiref", "sqlparse"),
    "boto3": ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3"),
}
NEAR_TURNS = 6
LISTING = """
import sys
import import_package
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None))
"""


def other_than_sources(folder: str, names: list[str]) -> list[str]:
    """Return what a copy leaves out: tests, and files that are not Python's."""
    left_out = ("__pycache__", "tests")
    paths = {name: Path(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if name in left_out or (path.suffix != ".py" and path.is_file())
    ]


def copied(version: str, package: str, target: Path) -> Path:
    """Copy the packages' sources to a folder of their own, with new times and no .pyc files."""
    shutil.rmtree(target, ignore_errors=True)
    for name in COPIED[package]:
        code = f"import {name}; print({name}.__path__[0])"
        source = output([python(version), "-c", code]).strip()
        shutil.copytree(
            source, target / name, ignore=other_than_sources, copy_function=shutil.copyfile
        )
    return target


def importing(arm: Arm, package: str) -> Arm:
    """Return the arm that imports a package."""
    return replace(arm, command=[*arm.command, package])


def importing_takes(arm: Arm, package: str, turn: int) -> float:
    """Return the instructions of an import, without those of start-up and exit."""
    return counted(importing(arm, package), turn) - counted(importing(arm, "nothing"), turn)


def quiet_line(source: Path) -> int:
    """Return a line that does not run while a module is imported, or else its last statement's.

    0 stands for a module without any.
    """
    tree = ast.parse(source.read_bytes())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    quiet = [node.body[-1].lineno for node in functions if not node.decorator_list]
    return max(quiet, default=0) or max((node.lineno for node in tree.body), default=0)


def loaded(version: str, package: str, folder: Path) -> list[Path]:
    """Return the sources in a folder, relative to it, that the program imports."""
    variables = {"PYTHONPATH": f"{folder}:{PROGRAMS}"}
    rows = output([python(version), "-c", LISTING, package], variables).splitlines()
    paths = {Path(row) for row in rows if row.endswith(".py")}
    return sorted(path.relative_to(folder) for path in paths if path.is_relative_to(folder))


def first_import(version: str, rounds: int) -> list[Figure]:
    """Return what the first import of each copied package costs with the store of another copy."""
    return [one for package in COPIED for one in first_import_of(package, version, rounds)]


def first_import_of(package: str, version: str, rounds: int) -> list[Figure]:
    """Return what the first import of one package costs."""
    work = SCRATCH / f"import-{package}-{version}"
    warmed, fresh = (copied(version, package, work / name) for name in ("warmed", "fresh"))
    output([python(version), "-m", "compileall", "-q", str(warmed)])
    # In all modules, as some are imported and fail, and leave no trace in `sys.modules`.
    sources = sorted(path.relative_to(warmed) for path in warmed.rglob("*.py"))
    points = {module: line for module in sources if (line := quiet_line(warmed / module))}
    files = {}
    for folder in (warmed, fresh):
        files[folder] = folder.with_suffix(".toml")
        files[folder].write_text(
            "".join(
                f'[[breakpoint]]\nfile = "{folder / module}"\nline = {line}\nkind = "count"\n'
                for module, line in points.items()
            )
        )
    store = work / "store"
    shutil.rmtree(store, ignore_errors=True)
    command = [dapper_instrument(version), "precompile", "--json", f"--cache-dir={store}"]
    command += [f"--python={python(version)}", f"--breakpoints={files[warmed]}", str(warmed)]
    filled(output(command), len(sources))
    # As on two machines: what one has exported, the other imports for its own copy.
    archive, imported = work / "store.dapper", work / "imported"
    carry = [dapper_instrument(version), "cache"]
    output([*carry, "export", f"--cache-dir={store}", f"--root={warmed}", str(archive)])
    shutil.rmtree(imported, ignore_errors=True)
    output([*carry, "import", f"--cache-dir={imported}", f"--root={fresh}", str(archive)])
    # Nothing is written, so every run is a first one: no .pyc file, and, in a store that was not
    # imported, no memo.
    variables = {"PYTHONPATH": str(fresh), "PYTHONDONTWRITEBYTECODE": "1"}
    options = [f"--breakpoints={files[fresh]}"]
    stored = variables | {"DAPPER_CACHE_DIR": str(store)}
    ends = reported(version, options, PROGRAM, package, **stored)
    imported_from = {str(fresh / module) for module in loaded(version, package, warmed)}
    missed = [end for end in ends if end["file"] in imported_from and not end["verified"]]
    if len(ends) != len(points) or missed:
        raise BenchError(f"{version}: a breakpoint is not in place: {missed[:3]}")
    stock = Arm([python(version), str(PROGRAM)], {"PYTHONPATH": str(warmed)})
    under = [dapper(version), "run", *options, str(PROGRAM)]
    warm = Arm(under, variables | {"DAPPER_CACHE_DIR": str(imported)})
    arms = {
        "plain": importing(stock, package),
        "imported": importing(warm, package),
        "stored": Arm([*under, package], stored),
        "without": Arm([*under, package], variables | {"DAPPER_CACHE_DIR": str(work / "nothing")}),
        # Whoever has to compile needs this at least, so the last factor cannot be far above it.
        "compiled": importing(Arm(stock.command, variables), package),
    }
    rounds = max(3, rounds)
    processor, *_ = rounds_of(arms, rounds)
    # Little lies between these two, so they take turns more often.
    near = {name: arms[name] for name in ("plain", "imported")}
    compared, *_ = rounds_of(near, NEAR_TURNS * rounds)
    named = f"{package} copied, a breakpoint in every module"
    counts = []
    if can_count():
        both = {"imported": warm, "plain": stock}
        spent = {
            name: [importing_takes(arm, package, turn) for turn in (1, 2, 3)]
            for name, arm in both.items()
        }
        counts = [
            figure(
                *("bounds", "first import", f"{named}: instructions over stock .pyc files"),
                *(version, ratio(spent, "imported")),
                unit="x",
                bound=1,
            )
        ]
    return [
        figure(
            *("bounds", "first import", f"{named}: over stock .pyc files", version),
            ratio(compared, "imported"),
            unit="x",
            bound=1,
        ),
        *counts,
        figure(
            *("bounds", "first import", f"{named}: if sources have to be read", version),
            ratio(processor, "stored"),
            unit="x",
        ),
        figure(
            *("bounds", "first import", f"{named}: without the store over with it", version),
            ratio(processor, "without", "imported"),
            unit="x",
            bound=5,
            at_least=True,
        ),
        figure(
            *("bounds", "first import", f"{package} copied: stock without .pyc files over with"),
            *(version, ratio(processor, "compiled")),
            unit="x",
        ),
    ]
