"""A client of the Debug Adapter Protocol, and programs to debug with it."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from tests.dap_schema import Exchange
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Body = dict[str, Any]
PATIENCE = 60.0
# Those that a test that failed may leave open.
OPEN: WeakSet[Client] = WeakSet()


class RefusedError(Exception):
    """A request was not done."""


class Client:
    """One end of a connection; what was read and not asked for yet is kept in order.

    Every message is held to the protocol's published schema, both ways.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._stream.settimeout(PATIENCE)
        OPEN.add(self)
        self._buffer = b""
        self._seq = 0
        self.exchange = Exchange()
        self.events: list[Body] = []
        self.responses: dict[int, Body] = {}
        self.requests: list[Body] = []

    @classmethod
    def connect(cls, address: tuple[str, int]) -> Self:
        """Connect, waiting until somebody listens."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                stream = socket.create_connection(address)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
                continue
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(stream)

    @property
    def peer(self) -> tuple[str, int]:
        """Where the other side is."""
        host, port = self._stream.getpeername()[:2]
        return host, port

    def close(self) -> None:
        self._stream.close()

    def reset(self) -> None:
        """Have closing break the connection off, as a killed client's machine would."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def set_patience(self, seconds: float) -> None:
        self._stream.settimeout(seconds)

    def send_raw(self, data: bytes) -> None:
        self._stream.sendall(data)

    def send(self, command: str, arguments: Body | None = None) -> int:
        """Ask for something; returns the number of the request."""
        message: Body = {"type": "request", "command": command}
        if arguments is not None:
            message["arguments"] = arguments
        return self.send_message(message)

    def send_message(self, message: Body) -> int:
        """Send a message as it is but for its number, which is returned."""
        self._seq += 1
        self._write({"seq": self._seq, **message})
        return self._seq

    def answer(self, request: Body, body: Body | None = None, *, success: bool = True) -> None:
        """Answer a request of the adapter's."""
        self._seq += 1
        self._write(
            {
                "seq": self._seq,
                "type": "response",
                "request_seq": request["seq"],
                "command": request["command"],
                "success": success,
                "body": body or {},
            }
        )

    def _write(self, message: Body) -> None:
        self.exchange.sent(message)
        data = json.dumps(message).encode()
        self.send_raw(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))

    def request(self, command: str, arguments: Body | None = None) -> Body:
        """Ask, and return the body of the answer."""
        return self.response(self.send(command, arguments))

    def response(self, seq: int) -> Body:
        """Return the body of the answer to a request."""
        while seq not in self.responses:
            self.read_one()
        answer = self.responses.pop(seq)
        if not answer["success"]:
            raise RefusedError(answer["message"])
        body: Body = answer.get("body") or {}
        return body

    def event(self, name: str) -> Body:
        """Wait for an event, and return its body; earlier ones of other names are kept."""
        while True:
            for at, event in enumerate(self.events):
                if event["event"] == name:
                    del self.events[at]
                    body: Body = event.get("body") or {}
                    return body
            self.read_one()

    def reverse_request(self, command: str) -> Body:
        """Wait for a request of the adapter's."""
        while True:
            for at, request in enumerate(self.requests):
                if request["command"] == command:
                    return self.requests.pop(at)
            self.read_one()

    def read_to_the_end(self) -> None:
        """Read until the other side closes."""
        try:
            while True:
                self.read_one()
        except (EOFError, ConnectionError):
            return

    def read_one(self) -> None:
        head = self._read_until(b"\r\n\r\n")
        length = int(head.split(b":")[1])
        while len(self._buffer) < length:
            self._fill()
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        message: Body = json.loads(data)
        self.exchange.received(message)
        if message["type"] == "event":
            self.events.append(message)
        elif message["type"] == "response":
            self.responses[message["request_seq"]] = message
        else:
            self.requests.append(message)

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(mark)
        return head

    def _fill(self) -> None:
        data = self._stream.recv(1 << 16)
        if not data:
            raise EOFError("the other side has closed")
        self._buffer += data

    # What most tests begin and go on with.

    def begin(self, **settings: object) -> Body:
        """Attach up to the point where breakpoints are set; returns the capabilities."""
        capabilities = self.request(
            "initialize",
            {
                "adapterID": "dapper",
                "linesStartAt1": True,
                "columnsStartAt1": True,
                "supportsVariableType": True,
                "supportsVariablePaging": True,
            },
        )
        attach = self.send("attach", dict(settings))
        self.event("initialized")
        self.response(attach)
        return capabilities

    def set_breakpoints(self, path: Path | str, *breakpoints: int | Body) -> list[Body]:
        """Set all breakpoints of a file."""
        asked = [{"line": point} if isinstance(point, int) else point for point in breakpoints]
        arguments = {"source": {"path": str(path)}, "breakpoints": asked}
        answer: list[Body] = self.request("setBreakpoints", arguments)["breakpoints"]
        return answer

    def frames(self, thread: int, **more: object) -> list[Body]:
        """Return the stack of a stopped thread."""
        arguments = {"threadId": thread, **more}
        frames: list[Body] = self.request("stackTrace", arguments)["stackFrames"]
        return frames

    def stopped(self, reason: str | None = None) -> Body:
        """Wait for a stop."""
        body = self.event("stopped")
        assert reason is None or body["reason"] == reason, body
        return body

    def at(self, stop: Body) -> tuple[str, int]:
        """Return the innermost function and line of a stop."""
        frame = self.frames(stop["threadId"], levels=1)[0]
        return frame["name"], frame["line"]


@contextmanager
def listening(
    folder: Path, source: str, *arguments: str, waits: bool = True
) -> Iterator[tuple[Client, Path, subprocess.Popen[str]]]:
    """Run a program that listens, and connect to it."""
    program = folder / "program.py"
    program.write_text(textwrap.dedent(source))
    port = free_port()
    begin = f"import dapper.debug; dapper.debug.listen({port})"
    if waits:
        begin += "; dapper.debug.wait_for_client()"
    # In front of the program, in a line of no file: its own lines stay what they are.
    runner = (
        f"import runpy, sys\n{begin}\nsys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", runner, str(program), *arguments]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    client = Client.connect(("127.0.0.1", port))
    try:
        yield client, program, process
    finally:
        client.close()
        process.kill()
        process.communicate()


def printed(process: subprocess.Popen[str]) -> str:
    """Return all that a program has printed, at its end."""
    assert process.stdout is not None
    return process.stdout.read()


def printed_line(process: subprocess.Popen[str]) -> str:
    """Wait for the next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline()
