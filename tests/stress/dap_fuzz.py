"""A fuzz target for each request of the debug protocol, at a program that is stopped.

Usage: dap_fuzz.py SECONDS [REQUEST...]. Each request of the schema, and each of ours, is sent for
so long: made from the schema, with values that are none of it, and with its bytes changed. Whatever
is sent, the connection lasts until the request itself ends it, a plain request behind it is
answered, nothing fails inside dapper, and the program goes on or ends as it was asked to.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.dap_client import PATIENCE, Body, Client, RefusedError, listening
from tests.dap_schema import schema
from tests.stress.dap_requests import INSIDE, ODD, PROGRAM, TEXTS, Requests, collect

OURS = {
    "dapper/breakpointStats": {},
    "dapper/engineStatus": {},
    "dapper/explainFrame": {"frameId": {"type": "integer"}},
}
# Those of a client to an adapter, and those that clients answer.
NOT_OURS = {"RunInTerminal", "StartDebugging", "ReverseContinue", "StepBack"}
# Behind these the stop is over; the program comes to the breakpoint again.
RUNS_ON = {
    "Continue", "Goto", "Next", "Pause", "RestartFrame", "StepIn", "StepOut", "TerminateThreads",
}  # fmt: skip
# These begin a session or end it: each one gets a program of its own.
ENDS = {"Attach", "ConfigurationDone", "Disconnect", "Initialize", "Launch", "Restart", "Terminate"}
# From time to time nothing of what was sent before is left.
SENT_TO_ONE = 2000
EXTREMES: tuple[Any, ...] = (
    *ODD,
    *TEXTS,
    1 << 31,
    -(1 << 63),
    1 << 64,
    1e308,
    "\ud800",
    "\u2028" * 3,
    "a" * 10_000,
    [[[[[[]]]]]] * 5,
    {"": {"": {"": None}}},
)


def commands() -> list[str]:
    """Return every request that the server may be sent."""
    definitions = schema()["definitions"]
    named = [name.removesuffix("Request") for name in definitions if name.endswith("Request")]
    known = [name[0].lower() + name[1:] for name in named if name and name not in NOT_OURS]
    return sorted(known) + sorted(OURS)


class Mutator:
    """Makes one kind of request, right and wrong."""

    def __init__(self, command: str, seed: int, numbers: dict[str, list[int]], path: str) -> None:
        self._chance = random.Random(seed)
        self._requests = Requests(seed, numbers, path)
        self._command = command

    def message(self, seq: int) -> bytes:
        """Return a whole message with its header."""
        sent: Body = {"seq": seq, "type": "request", "command": self._command}
        properties = OURS.get(self._command)
        made = self._requests.arguments(self._command, properties)
        if made is not None:
            sent["arguments"] = made
        for _ in range(self._chance.choice((0, 0, 1, 1, 3))):
            self._spoil(sent)
        text = json.dumps(sent).encode()
        if self._chance.random() < 0.3:
            text = self._changed(text)
        return b"Content-Length: %d\r\n\r\n%s" % (len(text), text)

    def _spoil(self, message: Body) -> None:
        """Put something odd somewhere into the arguments."""
        at: Any = message
        name: Any = "arguments"
        while isinstance(inner := at.get(name) if isinstance(at, dict) else at[name], dict | list):
            if not inner or self._chance.random() < 0.2:
                break
            at = inner
            name = self._chance.choice(list(inner) if isinstance(inner, dict) else [0, -1])
        if isinstance(at, dict) and self._chance.random() < 0.2:
            at.pop(name, None)
            return
        at[name] = deepcopy(self._chance.choice(EXTREMES))

    def _changed(self, text: bytes) -> bytes:
        """Change bytes of a message, most often behind what makes it this request."""
        changed = bytearray(text)
        first = text.find(b"arguments") if self._chance.random() < 0.9 else 0
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            at = self._chance.randrange(min(max(first, 0), len(changed) - 1), len(changed))
            length = self._chance.choice((1, 1, 2, 9))
            piece = changed[at : at + length]
            with_what = (
                bytes(self._chance.randrange(256) for _ in piece),
                b"",
                piece * 2,
                self._chance.choice((b"{", b"[", b'"', b"\\u0000", b"-", b"1e999", b"null", b",")),
            )
            changed[at : at + length] = self._chance.choice(with_what)
            if not changed:
                return b"{}"
        return bytes(changed)


class Fuzz:
    """One request at one program after the other."""

    def __init__(self, command: str, seed: int) -> None:
        self.command = command
        self.kind = command[0].upper() + command[1:]
        self.seed = seed
        self.sent = 0
        self.last = b""

    def run(self, until: float) -> None:
        """Send until then."""
        while time.monotonic() < until:
            with tempfile.TemporaryDirectory() as folder:
                one = self._one_session if self.kind in ENDS else self._many_at_stops
                one(Path(folder), until)

    def _mutator(self, numbers: dict[str, list[int]], path: str) -> Mutator:
        self.seed += 1
        return Mutator(self.command, self.seed, numbers, path)

    def _send(self, client: Client, mutator: Mutator) -> None:
        self.last = mutator.message(1_000_000 + self.sent)
        self.sent += 1
        client.send_raw(self.last)

    def _many_at_stops(self, folder: Path, until: float) -> None:
        with listening(folder, PROGRAM, waits=False) as (client, program, process):
            client.begin()
            client.exchange.knows_what_is_asked = False
            numbers: dict[str, list[int]] = {}
            mutator = self._mutator(numbers, str(program))
            client.set_breakpoints(program, INSIDE)
            client.request("configurationDone")
            client.event("stopped")
            self._look(client, program, numbers)
            for _ in range(SENT_TO_ONE):
                if time.monotonic() >= until:
                    break
                self._send(client, mutator)
                self._answered(client)
                if self.kind in RUNS_ON:
                    self._look(client, program, numbers)
            client.send("disconnect", {"terminateDebuggee": False})
            client.read_to_the_end()
            (folder / "enough").touch()
            assert process.wait(30) == 0

    def _look(self, client: Client, program: Path, numbers: dict[str, list[int]]) -> None:
        """Wait until the thread is stopped, and learn what can be asked for there."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                frames = [frame["id"] for frame in client.frames(1)]
                where = {"source": {"path": str(program)}, "line": INSIDE}
                targets = client.request("gotoTargets", where)["targets"]
                found: dict[str, list[int]] = {"variablesReference": []}
                for frame in frames[:2]:
                    collect(client.request("scopes", {"frameId": frame}), found)
            except RefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
                continue
            break
        client.events.clear()
        numbers.update(
            found,
            threadId=[1],
            frameId=frames,
            line=[INSIDE, 4],
            targetId=[target["id"] for target in targets],
        )

    def _answered(self, client: Client) -> None:
        """Hold the server to answering what is plain, and to no error of its own."""
        try:
            assert client.request("threads")["threads"]
        except RefusedError as refused:
            # Nothing is, before the session has begun.
            if "comes too early" not in str(refused):
                raise
        for answer in client.responses.values():
            assert "error of dapper's own" not in answer.get("message", ""), answer
        client.responses.clear()
        del client.events[:-50]

    def _one_session(self, folder: Path, _until: float) -> None:
        """Send the request in some state of a session; then either side may end it."""
        chance = random.Random(self.seed)
        with listening(folder, PROGRAM, waits=False) as (client, program, process):
            client.exchange.knows_what_is_asked = False
            mutator = self._mutator({"threadId": [1]}, str(program))
            state = chance.randrange(4)
            if state > 0:
                client.begin()
            if state > 1:
                client.set_breakpoints(program, INSIDE)
                client.request("configurationDone")
            if state > 2:
                client.event("stopped")
            try:
                for _ in range(5):
                    self._send(client, mutator)
                    self._answered(client)
            except (EOFError, ConnectionError):
                # Asked to disconnect or to end, it does.
                pass
            client.close()
            (folder / "enough").touch()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                raise AssertionError("the program neither goes on nor ends") from None


def main() -> None:
    """Fuzz some requests, or all."""
    seconds, wanted = float(sys.argv[1]), sys.argv[2:] or commands()
    failed = False
    for command in wanted:
        seed = int(os.environ.get("FUZZ_SEED", random.randrange(1 << 32)))
        fuzz = Fuzz(command, seed)
        try:
            fuzz.run(time.monotonic() + seconds)
        except BaseException as error:
            failed = True
            print(f"{command}: FAILED, seed {seed}: {error!r}"[:1000])
            print(f"sent last: {fuzz.last!r}", flush=True)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            print(f"{command}: {fuzz.sent} sent", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
