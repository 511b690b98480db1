"""Stops a program thousands of times, with random requests at each stop, and watches its memory.

Usage: dap_soak.py [STOPS [SEED]]
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.dap_client import Body, RefusedError, listening

PROGRAM = """\
import threading

class Node:
    def __init__(self, n):
        self.n = n
        self.items = list(range(n % 50))

def leaf(node):
    value = node.n * 2
    text = f"{value}"
    return value, text

def middle(n):
    node = Node(n)
    try:
        if n % 7 == 0:
            raise ValueError(n)
    except ValueError:
        pass
    return leaf(node)

def main():
    n = 0
    while True:
        n += 1
        middle(n)

main()
"""
BREAKPOINTS: list[int | Body] = [
    9,
    {"line": 10, "condition": "value % 3"},
    {"line": 14, "hitCondition": "% 2"},
]
# Memory is looked at after this share of the stops, when everything has been used once.
WARM = 0.4
GROWTH = 1 << 20


def _memory(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


class Soak:
    """One run."""

    def __init__(self, client, program, seed: int) -> None:
        self.client = client
        self.program = program
        self.chance = random.Random(seed)
        self.thread = 0

    def stop(self) -> None:
        """Wait for a stop of whatever kind, and ask a few things there."""
        self.thread = self.client.event("stopped")["threadId"]
        self.client.events.clear()
        for _ in range(self.chance.randrange(4)):
            try:
                self.chance.choice(
                    [self.look, self.look, self.evaluate, self.rearrange, self.lists]
                )()
            except RefusedError:
                continue

    def look(self) -> None:
        frames = self.client.frames(self.thread, levels=self.chance.randrange(4))
        frame = self.chance.choice(frames)
        for scope in self.client.request("scopes", {"frameId": frame["id"]})["scopes"]:
            reference = scope["variablesReference"]
            arguments = {"variablesReference": reference}
            for variable in self.client.request("variables", arguments)["variables"][:3]:
                inside = variable["variablesReference"]
                if inside:
                    self.client.request("variables", {"variablesReference": inside})

    def evaluate(self) -> None:
        frame = self.client.frames(self.thread, levels=1)[0]["id"]
        expression = self.chance.choice(["n", "[n] * 9", "node", "1 / 0", "{'a': object()}"])
        arguments = {"expression": expression, "frameId": frame, "context": "watch"}
        self.client.request("evaluate", arguments)

    def rearrange(self) -> None:
        points = [point for point in BREAKPOINTS if self.chance.random() < 0.7] or BREAKPOINTS[:1]
        self.client.set_breakpoints(self.program, *points)
        filters = ["raised"] if self.chance.random() < 0.3 else []
        self.client.request("setExceptionBreakpoints", {"filters": filters})

    def lists(self) -> None:
        command = self.chance.choice(
            ["threads", "dapper/engineStatus", "dapper/breakpointStats", "modules"]
        )
        self.client.request(command, {})

    def go_on(self) -> None:
        command = self.chance.choice(["continue", "continue", "next", "stepIn", "stepOut"])
        self.client.request(command, {"threadId": self.thread})


def soak(folder: Path, stops: int, seed: int) -> int:
    """Run; return by how many bytes the program has grown after it was warm."""
    with listening(folder, PROGRAM) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, *BREAKPOINTS)
        client.request("configurationDone")
        run = Soak(client, program, seed)
        warm = 0
        for number in range(stops):
            run.stop()
            if number == int(stops * WARM):
                warm = _memory(process.pid)
            run.go_on()
        run.stop()
        grown = _memory(process.pid) - warm
        assert process.poll() is None
        return grown


def main() -> None:
    stops = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        grown = soak(Path(folder), stops, seed)
    print(f"{stops} stops, seed {seed}: grown by {grown >> 10} KiB")
    if grown > GROWTH:
        sys.exit("the program has grown too much")


if __name__ == "__main__":
    main()
