"""What is compiled into a line means what `eval` in the frame means, or the source.

Random conditions and messages stand on the lines of programs of every kind of scope. The same
program runs once more with plain breakpoints, whose callback evaluates the texts in the frame.
`DAPPER_EXPRESSION_ROUNDS` makes the test as long as wanted, `DAPPER_EXPRESSION_SEED` another one.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.expressions import HOSTS, expression, field
from tests.launch import write

import dapper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

ROUNDS = int(os.environ.get("DAPPER_EXPRESSION_ROUNDS", "25"))
SEED = os.environ.get("DAPPER_EXPRESSION_SEED", "1")

Seen = tuple[int, int, str]

# What expressions of constants and names without calls of anybody's own code raise.
RAISED = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(NameError, TypeError, ValueError),
)


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    yield
    dapper.stop()


def condition(choose: random.Random) -> str:
    """Return an expression that compiles."""
    while True:
        text = expression(choose, choose.randint(1, 4))
        try:
            compile(text, "<test>", "eval")
        except SyntaxError:
            continue
        return text


def message(choose: random.Random) -> tuple[str, list[str]]:
    """Return a message, and its pieces: texts, and fields as they are evaluated."""
    while True:
        fields = [field(choose) for _ in range(choose.randint(1, 3))]
        try:
            for text in fields:
                compile(f"f{text!r}" if "'" not in text else f'f"{text}"', "<test>", "eval")
        except SyntaxError:
            continue
        return "".join(f"{number}={text}|" for number, text in enumerate(fields)), fields


def said(error: BaseException) -> str:
    """Return what an exception says, if that does not depend on how a name was looked up."""
    name = type(error).__name__
    return "NameError" if isinstance(error, NameError) else f"{name}: {error}"


def mangled(text: str, frame: FrameType) -> str:
    """Return an expression with private names as the source would have them."""
    inside = "C" in frame.f_code.co_qualname.split(".")
    return re.sub(r"\b__p\b", "_C__p", text) if inside else text


def evaluated(text: str, frame: FrameType) -> Any:
    """Evaluate as the source at that line would, comprehensions and lambdas included."""
    names = dict(frame.f_locals)
    if frame.f_code.co_flags & 1:
        return eval(mangled(text, frame), {**frame.f_globals, **names})
    return eval(mangled(text, frame), frame.f_globals, names)


def stable(text: str) -> str:
    """Return a text without what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"<error: (NameError|UnboundLocalError)[^>]*>", "<error: NameError>", text)


class Case:
    """A program with breakpoints, run in two ways."""

    def __init__(self, folder: Path, name: str, choose: random.Random) -> None:
        self.folder = folder
        self.name = f"host_{folder.name}"
        self.source = HOSTS[name]
        write(folder, **{self.name: self.source})
        importlib.invalidate_caches()
        lines = [n for n, text in enumerate(self.source.splitlines(), 1) if "HERE" in text]
        self.asked: dict[int, list[tuple[str, Any]]] = {}
        for line in choose.sample(lines, choose.randint(1, len(lines))):
            self.asked[line] = [
                ("if", condition(choose)) if choose.random() < 0.6 else ("log", message(choose))
                for _ in range(choose.randint(1, 3))
            ]

    def load(self) -> None:
        """Run the program."""
        sys.modules.pop(self.name, None)
        importlib.import_module(self.name)

    def expected(self) -> list[Seen]:
        """Run with plain breakpoints, and evaluate in their callback."""
        seen: list[Seen] = []

        def look(hit: dapper.Hit) -> None:
            for number, (kind, what) in enumerate(self.asked[hit.line]):
                try:
                    if kind == "if":
                        if evaluated(what, hit.frame):
                            seen.append((hit.line, number, "hit"))
                        continue
                except RAISED as error:
                    seen.append((hit.line, number, said(error)))
                    continue
                pieces = [f"{n}={self.text(text, hit.frame)}|" for n, text in enumerate(what[1])]
                seen.append((hit.line, number, stable("".join(pieces))))

        dapper.start(dapper.Config(cache_dir=self.folder / "store"))
        for line in self.asked:
            dapper.add_breakpoint(self.folder / f"{self.name}.py", line, on_hit=look)
        self.load()
        dapper.stop()
        return seen

    @staticmethod
    def text(text: str, frame: FrameType) -> str:
        """Return what a field of a message becomes."""
        quote = '"' if "'" in text else "'"
        try:
            return str(evaluated(f"f{quote}{text}{quote}", frame))
        except RAISED as error:
            return f"<error: {type(error).__name__}: {error}>".replace(": >", ">")

    def found(self) -> tuple[list[Seen], int]:
        """Run with the conditions and messages in the line."""
        events = self.folder / "events.jsonl"
        config = dapper.Config(
            cache_dir=self.folder / "store", condition_budget_s=float("inf"), events=events
        )
        dapper.start(config)
        seen: list[Seen] = []
        points = []
        for line, parts in self.asked.items():
            for number, (kind, what) in enumerate(parts):
                terms: dict[str, Any] = {"log_message": what[0]}
                if kind == "if":
                    terms = {"condition": what, "on_hit": self.noting(seen, line, number, events)}
                points.append(dapper.add_breakpoint(self.folder / f"{self.name}.py", line, **terms))
        self.load()
        self.note_messages(seen, events)
        in_line = sum(1 for point in points if point.tier == "import" and point.reason is None)
        dapper.stop()
        return seen, in_line

    def noting(self, seen: list[Seen], line: int, number: int, events: Path) -> Any:
        """Return a callback that notes a hit, after the messages before it."""

        def note(hit: dapper.Hit) -> None:
            self.note_messages(seen, events)
            seen.append((line, number, "hit" if hit.error is None else said(hit.error)))

        return note

    def note_messages(self, seen: list[Seen], events: Path) -> None:
        """Note the messages that were recorded since."""
        rows = [json.loads(row) for row in events.read_text().splitlines()]
        known = sum(1 for one in seen if not one[2] or one[2][0].isdigit())
        logs = [row for row in rows if row["event"] == "hit" and row["kind"] == "log"]
        for row in logs[known:]:
            texts = [what[0] if kind == "log" else None for kind, what in self.asked[row["line"]]]
            seen.append((row["line"], len(texts), stable(row["message"])))


def in_order(seen: list[Seen]) -> list[tuple[int, str]]:
    """Leave out which breakpoint of a line it was, which a record does not say."""
    return [(line, text) for line, _, text in seen]


@pytest.mark.parametrize("name", HOSTS)
def test_expressions_in_the_line_mean_what_they_mean_in_the_frame(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(f"{SEED} {name}")
    in_line = 0
    for number in range(ROUNDS):
        folder = tmp_path / f"r{number}"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        case = Case(folder, name, choose)
        expected = in_order(case.expected())
        found, placed = case.found()
        assert in_order(found) == expected, case.asked
        in_line += placed
    assert in_line > ROUNDS
