"""What a log message costs beside `print` in the same place, and how many a second there can be."""

from __future__ import annotations

from pathlib import Path

from arms import PROGRAMS, SCRATCH, Arm, BenchError, dapper, marked, output, python, rounds_of
from estimate import median_of, ratio
from figures import Figure, figure

# Functions of benches/programs/log.py, what the page calls them, and the message of each.
MESSAGES = {
    "one_field": ("a message", "x={x}"),
    "fields": ("three fields and a format", "{x:>8} {name!r} {thing.size}"),
}


def lines_of(version: str, command: list[str], target: Path) -> list[bytes]:
    """Run a program that writes into `target`, and return the lines."""
    target.unlink(missing_ok=True)
    output(command)
    lines = target.read_bytes().splitlines()
    if not lines:
        raise BenchError(f"{version}: {' '.join(command)} wrote nothing into {target}")
    return lines


def log(version: str, rounds: int) -> list[Figure]:
    """Return what a log message into a file costs beside a `print` in the same place."""
    program = PROGRAMS / "log.py"
    SCRATCH.mkdir(parents=True, exist_ok=True)
    figures = []
    for name, (called, text) in MESSAGES.items():
        (line,) = marked(program, name)
        by_hand, logged = SCRATCH / f"print-{version}.log", SCRATCH / f"log-{version}.log"
        option = f"--log={program}:{line}={text}"
        logging = [dapper(version), "run", option, f"--log-to={logged}", str(program), name]
        printing = [python(version), str(program), name, str(by_hand)]
        if lines_of(version, logging, logged) != lines_of(version, printing, by_hand):
            raise BenchError(f"{version}: {logged} does not hold the lines of {by_hand}")
        logged.unlink()
        arms = {"print": Arm(printing), "log": Arm(logging)}
        processor, wall = rounds_of(arms, rounds)
        # Every run appends; the first of them, which only warms up, is one more.
        expected = (len(wall["log"]) + 1) * len(by_hand.read_bytes().splitlines())
        with logged.open("rb") as lines:
            written = sum(1 for _ in lines)
        if written != expected:
            raise BenchError(f"{version}: {written} of {expected} lines are in {logged}")
        rate = median_of([1e9 / taken for taken in wall["log"]])
        cost = ratio(processor, "log", "print")
        figures += [
            figure("bounds", "log", f"{called}, beside print", version, cost, unit="x", bound=2),
            figure(
                "bounds",
                "log",
                f"{called}: a second into a file",
                version,
                rate,
                unit="",
                bound=300_000,
                at_least=True,
            ),
        ]
    return figures
