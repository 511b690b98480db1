"""Adapters to speak with, over standard streams, a port or a socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.dap_client import Body, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "python" / "dapper" / "adapter"
PATIENCE = 30.0


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with nothing of dapper in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAPPER", "PYTHON"))
    }
    return {**kept, **changes}


def command(*options: str | Path) -> list[str]:
    """The adapter as editors start it: by its folder."""
    return [sys.executable, str(FOLDER), *map(str, options)]


class Adapter(Client):
    """A client of an adapter, and the process of that adapter."""

    process: subprocess.Popen[bytes]

    def initialize(self, **more: object) -> Body:
        """Say who the client is; returns the capabilities."""
        arguments = {"adapterID": "dapper", "linesStartAt1": True, "columnsStartAt1": True}
        return self.request("initialize", {**arguments, **more})

    def launch(self, program: Path, **more: object) -> int:
        """Launch a program, and wait until it can be configured."""
        self.initialize()
        seq = self.send("launch", {"program": str(program), **more})
        self.response(seq)
        self.event("initialized")
        return seq

    def output(self, category: str = "stdout") -> str:
        """What the program has printed, as far as it was read."""
        bodies = [event["body"] for event in self.events if event["event"] == "output"]
        return "".join(body["output"] for body in bodies if body["category"] == category)

    def ended(self) -> int:
        """Wait for the end of the program; returns its status."""
        status: int = self.event("exited")["exitCode"]
        self.event("terminated")
        return status

    def leave(self) -> int:
        """Disconnect, and wait for the end of the adapter; returns its status."""
        self.request("disconnect")
        return self.process.wait(PATIENCE)


class InProcess(Adapter):
    """A client that launches every program in the process of its adapter."""

    def send(self, command: str, arguments: Body | None = None) -> int:
        if command == "launch":
            arguments = {"inProcess": True, **(arguments or {})}
        return super().send(command, arguments)

    def leave(self) -> int:
        """Disconnect, and wait for the end of the process; its status is the program's."""
        super().leave()
        return 0


@contextmanager
def stdio(*options: str, kind: type[Adapter] = Adapter, **changes: str) -> Iterator[Adapter]:
    """An adapter at its standard streams, which are a socket here."""
    near, far = socket.socketpair()
    process = subprocess.Popen(
        command(*options),
        stdin=far.fileno(),
        stdout=far.fileno(),
        stderr=subprocess.DEVNULL,
        env=environment(**changes),
    )
    far.close()
    client = kind(near)
    client.process = process
    try:
        yield client
    finally:
        client.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


@contextmanager
def port() -> Iterator[tuple[tuple[str, int], subprocess.Popen[str]]]:
    """An adapter that waits at a port: its address, and its process."""
    process = subprocess.Popen(
        command("--port", "0"), stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stderr is not None
    found = re.search(r"at (.*):(\d+)$", process.stderr.readline())
    assert found
    try:
        yield (found[1], int(found[2])), process
    finally:
        process.kill()
        process.communicate()
