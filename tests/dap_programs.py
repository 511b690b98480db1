"""Programs that clients of the debug protocol come to, and how they are run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.dap_client import Client
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY = """\
    import time
    def work(n):
        return n + 1
    n = 0
    until = time.monotonic() + 60
    while time.monotonic() < until:
        n = work(n)
    """
COUNT = """\
    import sys
    def work(n):
        print("at", n)
        return n
    work(1)
    sys.exit(work(3))
    """


@contextmanager
def running(*command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run an interpreter with these arguments, and leave nothing of it."""
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def program(folder: Path, source: str) -> Path:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return path


@contextmanager
def waiting(
    folder: Path, source: str, *options: str
) -> Iterator[tuple[Client, Path, subprocess.Popen[str]]]:
    """Run a program with `dapper run --listen --wait-for-client`, and connect to it."""
    path = program(folder, source)
    port = free_port()
    command = ["-m", "dapper", "run", "--listen", str(port), "--wait-for-client", *options]
    with running(*command, path.name, cwd=folder) as process:
        client = Client.connect(("127.0.0.1", port))
        try:
            yield client, path, process
        finally:
            client.close()


def go_on(client: Client, stop: dict[str, object]) -> None:
    client.request("continue", {"threadId": stop["threadId"]})
