"""Requests of the debug protocol at random, made from its schema, to a program that is stopped.

Usage: dap_requests.py [SEED [COUNT]]. Each has to be answered, the connection has to last, and
the program has to go on when all is over. What a seed sends depends on the seed alone.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.dap_client import Body, Client, RefusedError, listening
from tests.dap_schema import schema

PROGRAM = """\
import os, time

class Thing:
    kind = "thing"
    def __init__(self, size):
        self.size = size
        self.inner = {"a": [1, 2, 3], "b": {4, 5}}

def work(count, thing):
    text = "x" * count
    return count + thing.size + len(text)

count = 0
while not os.path.exists("enough"):
    try:
        count = work(count % 10, Thing(1))
    except Exception:
        count = 0  # something was assigned to
    time.sleep(0.001)
"""
INSIDE = 11
# What would end the session, or has the program go on: at random the stop would soon be over.
LEFT_OUT = {
    "Attach", "ConfigurationDone", "Continue", "Disconnect", "Goto", "Initialize", "Launch", "Next",
    "Pause", "Restart", "RestartFrame", "ReverseContinue", "RunInTerminal", "StartDebugging",
    "StepBack", "StepIn", "StepOut", "Terminate", "TerminateThreads",
}  # fmt: skip
TEXTS = ("", "count", "thing.inner['a']", "thing", "len(text)", "1/0", "def", "\x00", "é" * 40, "{")
ODD: tuple[Any, ...] = (None, -1, 1 << 62, 0.5, "?", [], {}, True)
MOST_DEPTH = 6


class Requests:
    """Makes requests from the schema."""

    def __init__(self, seed: int, numbers: dict[str, list[int]], path: str) -> None:
        self._random = random.Random(seed)
        self._numbers = numbers
        self._path = path
        self._definitions: dict[str, Body] = schema()["definitions"]
        named = [name.removesuffix("Request") for name in self._definitions]
        self._names = sorted(
            name
            for name in named
            if f"{name}Request" in self._definitions and name and name not in LEFT_OUT
        )

    def request(self) -> Body:
        """Return a request without its number."""
        name = self._random.choice(self._names)
        command = name[0].lower() + name[1:]
        message: Body = {"type": "request", "command": command}
        arguments = self.arguments(command)
        if arguments is not None:
            message["arguments"] = arguments
        return message

    def arguments(self, command: str, properties: Body | None = None) -> Any:
        """Return what the request may carry, if anything; `properties` are of one of ours."""
        wanted = self._definitions.get(f"{command[0].upper()}{command[1:]}Arguments")
        if properties is not None:
            wanted = {"type": "object", "properties": properties}
        if wanted is None or self._random.random() >= 0.97:
            return None
        return self._value(wanted, "", 0)

    def _value(self, wanted: Body, name: str, depth: int) -> Any:
        """Return a value of a type, or something else now and then."""
        if self._random.random() < 0.03:
            return self._random.choice(ODD)
        wanted = self._resolved(wanted)
        kind = wanted.get("type", "string")
        if isinstance(kind, list):
            kind = self._random.choice(kind)
        if "enum" in wanted:
            return self._random.choice(wanted["enum"])
        if kind == "object":
            return self._object(wanted, depth)
        if kind == "array":
            count = self._random.choice((0, 1, 1, 2, 5)) if depth < MOST_DEPTH else 0
            items = wanted.get("items", {})
            return [self._value(items, name, depth + 1) for _ in range(count)]
        return self._random.choice(self._choices(kind, name, wanted))

    def _resolved(self, wanted: Body) -> Body:
        """Return the definition that is meant."""
        if "$ref" in wanted:
            wanted = self._definitions[wanted["$ref"].rsplit("/", 1)[1]]
        parts: list[Body] = [part for part in wanted.get("allOf", ()) if "properties" in part]
        return parts[-1] if parts else wanted

    def _choices(self, kind: str, name: str, wanted: Body) -> list[Any]:
        """Return values of a simple type."""
        if kind in ("integer", "number"):
            known = self._numbers.get(name, [])
            return [*known, *known, 0, 1, INSIDE, 3, 1000, -1]
        if kind == "boolean":
            return [False, True]
        if kind == "null":
            return [None]
        if name == "path":
            return [self._path, "/nowhere.py", ""]
        return [*TEXTS, *wanted.get("_enum", ())]

    def _object(self, wanted: Body, depth: int) -> Body:
        required = wanted.get("required", ())
        made = {}
        for name, inner in wanted.get("properties", {}).items():
            chance = 0.98 if name in required else 0.4
            if depth < MOST_DEPTH and self._random.random() < chance:
                made[name] = self._value(inner, name, depth + 1)
        return made


def answer(client: Client, number: int) -> Body | None:
    """Return the body of an answer, or nothing where it was refused for good reason."""
    try:
        return client.response(number)
    except RefusedError as error:
        if "error of dapper's own" in str(error):
            raise
        return None


def collect(body: Any, numbers: dict[str, list[int]]) -> None:
    """Take the numbers that an answer names, to ask for what they mean."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name == "variablesReference" and isinstance(value, int) and value > 0:
                numbers["variablesReference"].append(value)
                del numbers["variablesReference"][:-20]
            else:
                collect(value, numbers)
    elif isinstance(body, list):
        for value in body:
            collect(value, numbers)


def run(folder: Path, seed: int, count: int) -> None:
    """Send so many requests."""
    with listening(folder, PROGRAM, waits=False) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, INSIDE)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        frames = [frame["id"] for frame in client.frames(thread)]
        numbers = {"threadId": [thread], "frameId": frames, "variablesReference": [], "line": [4]}
        for frame in frames:
            collect(client.request("scopes", {"frameId": frame}), numbers)
        client.exchange.refuses_what_is_wrong = False
        requests = Requests(seed, numbers, str(program))
        for _ in range(count):
            message = requests.request()
            try:
                body = answer(client, client.send_message(message))
            except BaseException:
                print(f"seed {seed}: {message}", file=sys.stderr)
                raise
            collect(body, numbers)
        client.send("disconnect", {"terminateDebuggee": False})
        client.read_to_the_end()
        (folder / "enough").touch()
        assert process.wait(30) == 0


def main() -> None:
    """Run one seed."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), seed, count)
    print(f"seed {seed}: {count} requests are answered")


if __name__ == "__main__":
    main()
