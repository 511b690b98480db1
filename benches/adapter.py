"""What an editor waits for, over dapper's debug adapter and over debugpy's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from arms import PROGRAMS, SCRATCH, BenchError, marked, output, python
from editor import Body, Editor
from estimate import median_of
from figures import Figure, figure

PROGRAM = PROGRAMS / "adapter.py"
ITEMS = 1_000_000
MODULES = 2_000
MODULE = """\
def function_{index}(a):
    if a < 0:
        a = 0
    return a + {index}
"""
# What is slow gets less to do.
COUNTS = {"dapper": 2_000, "debugpy": 50}
MESSAGES = {"dapper": 100_000, "debugpy": 500}
# What the page calls a measure, its unit, and the bound that dapper is held to.
MEASURES: dict[str, tuple[str, float]] = {
    "launch to first stop, beyond a plain run": ("ms", 150),
    "steps a second": ("", 2_000),
    "continue to next stop, a second": ("", 2_000),
    "evaluations a second": ("", 5_000),
    "a page of a list of a million": ("ms", 10),
    "setBreakpoints with 2,000 modules": ("ms", 20),
    "log messages a second": ("", 100_000),
}
LAUNCH, STEPS, HITS, EVALUATIONS, PAGE, SETTING, LOGGING = MEASURES


@contextmanager
def stopped(
    version: str, tool: str, mark: str, *arguments: object
) -> Iterator[tuple[Editor, Body, float]]:
    """Launch the program up to a mark; the last is how long that took."""
    begun = time.perf_counter()
    editor = Editor([python(version), "-m", f"{tool}.adapter"])
    try:
        breakpoints: list[Body] = [{"line": line} for line in marked(PROGRAM, mark)]
        given = [str(argument) for argument in arguments]
        stop = editor.launch(PROGRAM, *given, python=python(version), breakpoints=breakpoints)
        yield editor, {"threadId": stop["threadId"]}, time.perf_counter() - begun
    finally:
        editor.end()


def rate(count: int, step: Callable[[], object]) -> float:
    """Return how often a second something can be done."""
    begun = time.perf_counter()
    for _ in range(count):
        step()
    return count / (time.perf_counter() - begun)


def launch(version: str, tool: str) -> float:
    """Return how much longer than a plain run the first stop takes."""
    begun = time.perf_counter()
    output([python(version), str(PROGRAM), "first"])
    plain = time.perf_counter() - begun
    with stopped(version, tool, "first", "first") as (_, _, taken):
        return (taken - plain) * 1e3


def going_on(version: str, tool: str, what: str, command: str) -> float:
    """Return how often a second the program goes on and stops again."""
    count = COUNTS[tool]
    with stopped(version, tool, what, what, 2 * count) as (editor, thread, _):

        def step() -> None:
            editor.send(command, thread)
            editor.until("stopped")

        return rate(count, step)


def frame_of(editor: Editor, thread: Body) -> int:
    """Return the number of the innermost frame."""
    frames = editor.request("stackTrace", {**thread, "startFrame": 0, "levels": 1})
    number: int = frames["stackFrames"][0]["id"]
    return number


def evaluations(version: str, tool: str) -> float:
    """Return how often a second an expression is evaluated."""
    with stopped(version, tool, "values", "values", ITEMS) as (editor, thread, _):
        frame = frame_of(editor, thread)
        asked = {"expression": "here + 1", "frameId": frame, "context": "watch"}
        if editor.request("evaluate", asked)["result"] != str(ITEMS + 1):
            raise BenchError(f"{tool}: a wrong value")
        return rate(COUNTS[tool], lambda: editor.request("evaluate", asked))


def page(version: str, tool: str) -> float:
    """Return how long a part of a long list takes to be shown."""
    with stopped(version, tool, "values", "values", ITEMS) as (editor, thread, _):
        scopes = editor.request("scopes", {"frameId": frame_of(editor, thread)})["scopes"]
        locals_of = {"variablesReference": scopes[0]["variablesReference"]}
        variables = editor.request("variables", locals_of)["variables"]
        (items,) = [variable for variable in variables if variable["name"] == "items"]
        asked = {"variablesReference": items["variablesReference"], "filter": "indexed"}
        asked |= {"start": ITEMS // 2, "count": 100}
        begun = time.perf_counter()
        values = editor.request("variables", asked)["variables"]
        taken = (time.perf_counter() - begun) * 1e3
        if tool == "dapper" and [values[0]["value"], len(values)] != [str(ITEMS // 2), 100]:
            raise BenchError(f"not the page that was asked for: {values[:2]}")
        return taken


def modules() -> Path:
    """Write many modules, once."""
    folder = SCRATCH / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(MODULES):
        path = folder / f"module_{index:04}.py"
        if not path.exists():
            path.write_text("".join(MODULE.format(index=inner) for inner in range(25)))
    return folder


def setting(version: str, tool: str) -> float:
    """Return how long a breakpoint takes to be set."""
    folder = modules()
    with stopped(version, tool, "modules", "modules", folder) as (editor, _, _):
        times = []
        for index in range(0, MODULES, MODULES // 10):
            begun = time.perf_counter()
            told = editor.set_breakpoints(folder / f"module_{index:04}.py", [{"line": 3}])
            times.append((time.perf_counter() - begun) * 1e3)
            if not told[0]["verified"]:
                raise BenchError(f"{tool}: not verified: {told}")
        return median_of(times).value


def logging(version: str, tool: str) -> float:
    """Return how many messages a second arrive, and see that they all do."""
    count = MESSAGES[tool]
    with stopped(version, tool, "begin", "messages", count) as (editor, thread, _):
        (line,) = marked(PROGRAM, "messages")
        editor.set_breakpoints(PROGRAM, [{"line": line, "logMessage": "x={x}"}])
        begun = time.perf_counter()
        editor.send("continue", thread)
        lines: list[str] = []
        while len(lines) < count:
            told = editor.until("output")["output"]
            lines += [line for line in told.splitlines() if line.startswith("x=")]
        taken = time.perf_counter() - begun
    if lines != [f"x={index}" for index in range(count)]:
        raise BenchError(f"{tool}: messages are lost or out of order")
    return count / taken


HOW: dict[str, Callable[[str, str], float]] = {
    LAUNCH: launch,
    STEPS: lambda version, tool: going_on(version, tool, "steps", "next"),
    HITS: lambda version, tool: going_on(version, tool, "hits", "continue"),
    EVALUATIONS: evaluations,
    PAGE: page,
    SETTING: setting,
    LOGGING: logging,
}


def adapter(version: str, rounds: int) -> list[Figure]:
    """Return what an editor waits for, over each adapter."""
    figures = []
    for measure, (unit, bound) in MEASURES.items():
        for tool, each in (("dapper", rounds), ("debugpy", max(1, rounds // 3))):
            found = median_of([HOW[measure](version, tool) for _ in range(each)])
            figures.append(figure("adapter", measure, tool, version, found, unit=unit))
            if tool == "dapper":
                figures.append(
                    figure(
                        "bounds",
                        "adapter",
                        measure,
                        version,
                        found,
                        unit=unit,
                        bound=bound,
                        at_least=not unit,
                    )
                )
    return figures
