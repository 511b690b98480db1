"""A corpus of sources: the standard libraries and site-packages of all interpreters, in a folder.

The files keep their places in packages, so that walking them costs what walking a project costs.
The same content comes once. When there are too few, the tree is repeated with a comment appended
to each file, which makes another content of it. Nothing of it is ever committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from arms import PROGRAMS, ROOT, SCRATCH, output, python

# Old enough for its state to be believed, and for .pyc files to be younger.
MODIFIED = 1_600_000_000


def trees(versions: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield a name and a folder for every library and every environment."""
    code = (
        "import sys, sysconfig; "
        "print(sysconfig.get_path('stdlib')); print(sysconfig.get_path('purelib'))"
    )
    for version in versions:
        for kind, path in zip(
            ("lib", "site"), output([python(version), "-c", code]).splitlines(), strict=True
        ):
            yield f"{kind}-{version}", Path(path)


def sources(tree: Path) -> Iterator[Path]:
    """Yield the sources below a folder, those of other environments left out."""
    for folder, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if name not in ("__pycache__", "site-packages"))
        for file in sorted(files):
            path = Path(folder, file)
            if file.endswith(".py") and not path.is_symlink():
                yield path


def gather(target: Path, versions: list[str]) -> None:
    """Copy every content once."""
    seen: set[bytes] = set()
    for name, tree in trees(versions):
        for path in sources(tree):
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            if digest in seen or not content.strip():
                continue
            seen.add(digest)
            copy = target / "copy-0" / name / path.relative_to(tree)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def prune(version: str, target: Path) -> None:
    """Remove what does not compile in this version."""
    output([python(version), str(PROGRAMS / "prune_corpus.py"), str(target)])


def repeat(target: Path, count: int) -> None:
    """Repeat the tree under other content until there are `count` files, or cut it down."""
    first = target / "copy-0"
    originals = list(sources(first))
    have = len(originals)
    for path in originals[count:]:
        path.unlink()
    turn = 0
    while have < count:
        turn += 1
        for path in originals[: count - have]:
            copy = target / f"copy-{turn}" / path.relative_to(first)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() + b"\n# copy %d\n" % turn)
        have += min(len(originals), count - have)


def corpus(version: str, count: int) -> Path:
    """Return a folder of `count` sources that compile in this version; it is kept between runs."""
    target = SCRATCH / f"corpus-{version}"
    stamp = target / "made"
    if stamp.exists() and stamp.read_text() == str(count):
        return target / "tree"
    shutil.rmtree(target, ignore_errors=True)
    tree = target / "tree"
    versions = list(json.loads((ROOT / "build" / "pythons.json").read_text())["found"])
    gather(tree, versions)
    prune(version, tree)
    repeat(tree, count)
    for path in sources(tree):
        os.utime(path, (MODIFIED, MODIFIED))
    stamp.write_text(str(count))
    return tree
