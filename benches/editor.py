"""The editor's side of the Debug Adapter Protocol, as quick as is: it looks at nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from arms import BenchError, environment

Body = dict[str, Any]
# How long an adapter may take to end.
GOOD_WILL = 10


class Editor:
    """A debug adapter that was started over pipes, and a program that it launches."""

    def __init__(self, adapter: list[str]) -> None:
        self._process = subprocess.Popen(
            adapter,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out = self._process.stdin.fileno()
        self._in = self._process.stdout.fileno()
        self._buffer = b""
        self._sent = 0

    def send(self, command: str, arguments: Body | None = None) -> int:
        """Ask for something; returns the number of the request."""
        self._sent += 1
        message = {"seq": self._sent, "type": "request", "command": command}
        body = json.dumps({**message, "arguments": arguments or {}}).encode()
        data = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        while data:
            data = data[os.write(self._out, data) :]
        return self._sent

    def receive(self) -> Body:
        """Return the next message."""
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found:
                length = int(head[head.index(b":") + 1 :])
                if len(rest) >= length:
                    self._buffer = rest[length:]
                    message: Body = json.loads(rest[:length])
                    return message
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BenchError(f"{self._process.args!r} has ended")
            self._buffer += data

    def until(self, event: str) -> Body:
        """Wait for an event and return its body."""
        while True:
            message = self.receive()
            if message.get("event") == event:
                return message.get("body") or {}
            self._refused(message)

    def request(self, command: str, arguments: Body | None = None) -> Body:
        """Ask, and return the body of the answer."""
        number = self.send(command, arguments)
        while True:
            message = self.receive()
            self._refused(message)
            if message.get("request_seq") == number:
                return message.get("body") or {}

    def _refused(self, message: Body) -> None:
        if message["type"] == "response" and not message["success"]:
            raise BenchError(f"{message['command']}: {message.get('message')}")

    def launch(self, program: Path, *arguments: str, python: str, breakpoints: list[Body]) -> Body:
        """Run a program to its first stop."""
        self.request("initialize", {"adapterID": "bench", "supportsVariablePaging": True})
        configuration = {
            "program": str(program),
            "args": list(arguments),
            "python": [python],
            "console": "internalConsole",
            "cwd": str(program.parent),
        }
        # Some adapters answer only when all is configured.
        self.send("launch", configuration)
        self.until("initialized")
        self.set_breakpoints(program, breakpoints)
        self.send("configurationDone")
        return self.until("stopped")

    def set_breakpoints(self, path: Path, breakpoints: list[Body]) -> list[Body]:
        """Set all breakpoints of a file."""
        arguments = {"source": {"path": str(path)}, "breakpoints": breakpoints}
        told: list[Body] = self.request("setBreakpoints", arguments)["breakpoints"]
        return told

    def end(self) -> None:
        """End the program and the adapter."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            number = self.send("disconnect", {"terminateDebuggee": True})
            while self.receive().get("request_seq") != number:
                pass
        except (BrokenPipeError, BenchError):
            pass
        # Some adapters wait for another session until nobody can ask for one.
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(GOOD_WILL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
