"""The code blocks of a document, and running one as a program of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.launch import Outcome, python

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# A block that opens with the name of a file is that file; the other blocks use it.
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Snippet:
    """One code block."""

    language: str
    text: str
    line: int

    @property
    def file_name(self) -> str | None:
        """The file that this block is, if it is one."""
        named = _FILE.match(self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.language}-line-{self.line}"


def snippets(document: Path, language: str) -> list[Snippet]:
    """All blocks of `document` in `language`."""
    text = document.read_text()
    found = []
    for block in _BLOCK.finditer(text):
        if block[2] == language:
            line = text.count("\n", 0, block.start()) + 2
            found.append(Snippet(block[2], block[3], line))
    return found


def run_program(text: str, folder: Path, **variables: str) -> Outcome:
    """Run `text` as a script in `folder`, with a store of the folder's own."""
    script = folder / "snippet.py"
    script.write_text(text)
    store = {"DAPPER_CACHE_DIR": str(folder / "store"), **variables}
    return python("-W", "error", "-X", "dev", script.name, cwd=folder, **store)
