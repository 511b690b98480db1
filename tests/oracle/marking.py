"""Calls of `mark()` in a program, on lines that are there: where breakpoints may be set meanwhile.

A call stands before a simple statement, on its line, so that the program keeps its lines and its
line events. Only some statements get one: the first instruction of a line is to stay of every kind.
"""

from __future__ import annotations

import ast
import random


def marked(source: str, seed: str) -> str:
    """Return `source` with calls of `mark()` before some of its statements."""
    choice = random.Random(seed)
    lines = source.splitlines(keepends=True)
    for line, column in sorted(places(ast.parse(source)), reverse=True):
        text = lines[line - 1].encode()
        if not text[:column].strip() and choice.random() < 0.4:
            lines[line - 1] = (text[:column] + b"mark(); " + text[column:]).decode()
    return "".join(lines)


def places(tree: ast.Module) -> list[tuple[int, int]]:
    """The positions of simple statements that another one may precede."""
    found = []
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if not isinstance(block, list):
                continue
            for index, statement in enumerate(block):
                if not isinstance(statement, ast.stmt) or hasattr(statement, "body"):
                    continue
                first_text = index == 0 and isinstance(statement, ast.Expr)
                if isinstance(statement, ast.Match) or (
                    first_text and isinstance(statement.value, ast.Constant)  # type: ignore[attr-defined]
                ):
                    continue
                if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                    continue
                found.append((statement.lineno, statement.col_offset))
    return found
