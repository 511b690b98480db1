"""The configurations that debugpy's users have, and those of the documents, as they stand.

Variables of the editor are put in as an editor would, and ports are free ones.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.dap_adapter import ROOT, Adapter, environment, stdio
from tests.dap_client import Body
from tests.ports import free_port

PROGRAM = """\
import json, os, sys

def main():
    print(json.dumps([sys.argv[1:], os.environ.get("FROM_FILE")]))

main()
"""
INSIDE = 4
WAITS = """\
import sys, time
before = time.monotonic()
def main():
    return time.monotonic() < before + 60
while main():
    time.sleep(0.01)
"""
DOCUMENTS = "".join((ROOT / name).read_text() for name in ("docs/debugging.md", "README.md"))
EXAMPLES: list[Body] = json.loads((ROOT / "fixtures" / "dap" / "launch.json").read_text())
EXAMPLES += [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENTS, re.DOTALL)]
LAUNCHES = [example for example in EXAMPLES if example["request"] == "launch"]
CONNECTS = [example for example in EXAMPLES if "connect" in example or "port" in example]


def name_of(example: Body) -> str:
    name: str = example["name"]
    return name


def as_an_editor(example: Body, folder: Path, port: int = 0, process: int = 0) -> Body:
    """Put in what stands for something."""
    text = json.dumps(example)
    variables = {
        "${file}": str(folder / "program.py"),
        "${workspaceFolder}": str(folder),
        "${command:python.interpreterPath}": sys.executable,
        "${command:pickProcess}": str(process),
    }
    for variable, value in variables.items():
        text = text.replace(variable, value)
    configuration: Body = json.loads(text.replace("5678", str(port)))
    # Editors run a module where the folder is that was opened.
    if configuration["request"] == "launch":
        configuration.setdefault("cwd", str(folder))
    return configuration


def begin(client: Adapter, configuration: Body, path: Path, line: int) -> None:
    client.initialize(supportsRunInTerminalRequest=True, supportsStartDebuggingRequest=True)
    number = client.send(configuration["request"], configuration)
    console = configuration.get("console", "internalConsole")
    if configuration["request"] == "launch" and console != "internalConsole":
        asked = client.reverse_request("runInTerminal")
        arguments = asked["arguments"]
        kind = "external" if console == "externalTerminal" else "integrated"
        assert arguments["kind"] == kind
        changes = arguments.get("env") or {}
        process = subprocess.Popen(
            arguments["args"],
            cwd=arguments["cwd"],
            env={
                name: value
                for name, value in {**os.environ, **changes}.items()
                if value is not None
            },
        )
        client.answer(asked, {"processId": process.pid})
        threading.Thread(target=process.wait, daemon=True).start()
    if not configuration.get("noDebug"):
        client.event("initialized")
        client.set_breakpoints(path, line)
        client.request("configurationDone")
    client.response(number)


@pytest.mark.parametrize("example", LAUNCHES, ids=name_of)
def test_launch(tmp_path, example):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    (tmp_path / "test_nothing.py").write_text("")
    (tmp_path / ".env").write_text("FROM_FILE=1\n")
    configuration = as_an_editor(example, tmp_path)
    is_ours = configuration.get("module") != "unittest"
    with stdio() as client:
        begin(client, configuration, program, INSIDE)
        if not configuration.get("noDebug") and is_ours:
            if configuration.get("stopOnEntry"):
                stop = client.stopped("entry")
                assert client.at(stop) == ("<module>", 1)
                client.request("continue", {"threadId": stop["threadId"]})
            stop = client.stopped("breakpoint")
            assert client.at(stop) == ("main", INSIDE)
            client.request("continue", {"threadId": stop["threadId"]})
        status = client.ended()
        # An empty test run is 0 or 5, by version.
        assert status in ((0,) if is_ours else (0, 5))
        if is_ours and configuration.get("console", "internalConsole") == "internalConsole":
            arguments = configuration.get("args", [])
            wanted = ["--quiet", "two words"] if isinstance(arguments, str) else arguments
            from_file = "1" if "envFile" in configuration else None
            assert json.loads(client.output().splitlines()[0]) == [wanted, from_file]


@contextmanager
def waiting(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A program under `dapper run` with options."""
    program = folder / "program.py"
    program.write_text(WAITS)
    command = [sys.executable, "-m", "dapper", "run", *options, str(program)]
    process = subprocess.Popen(command, cwd=folder, env=environment(), text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(port: int) -> None:
    for _ in range(3000):
        with socket.socket() as probe:
            probe.settimeout(10)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.01)
    pytest.fail(f"nobody listens at {port}")


def stops_in_it(client: Adapter, configuration: Body, path: Path) -> None:
    begin(client, configuration, path, INSIDE)
    stop = client.stopped("breakpoint")
    assert client.at(stop) == ("main", INSIDE)
    assert client.frames(stop["threadId"])[0]["source"]["path"] == str(path)
    client.request("disconnect", {"terminateDebuggee": True})


@pytest.mark.parametrize("example", CONNECTS, ids=name_of)
def test_attach(tmp_path, example):
    port = free_port()
    remote = tmp_path
    configuration = as_an_editor(example, tmp_path, port)
    for mapping in configuration.get("pathMappings", []):
        if mapping["remoteRoot"] == "/app":
            # The folder of the container stands for one that there is here.
            remote = tmp_path / "app"
            remote.mkdir()
            mapping["remoteRoot"] = str(remote)
    with waiting(remote, f"--listen={port}"), stdio() as client:
        wait_for(port)
        stops_in_it(client, configuration, tmp_path / "program.py")


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if "listen" in example], ids=name_of
)
def test_listen(tmp_path, example):
    port = free_port()
    configuration = as_an_editor(example, tmp_path, port)
    with stdio() as client:
        client.initialize()
        number = client.send("attach", configuration)
        wait_for(port)
        with waiting(tmp_path, f"--connect={port}", "--wait-for-client"):
            client.event("initialized")
            client.set_breakpoints(tmp_path / "program.py", INSIDE)
            client.request("configurationDone")
            client.response(number)
            stop = client.stopped("breakpoint")
            assert client.at(stop) == ("main", INSIDE)
            client.request("disconnect", {"terminateDebuggee": True})


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if "processId" in example], ids=name_of
)
def test_process_id(tmp_path, example):
    program = tmp_path / "program.py"
    program.write_text(WAITS)
    process = subprocess.Popen([sys.executable, str(program)], env=environment())
    try:
        configuration = as_an_editor(example, tmp_path, process=process.pid)
        with stdio() as client:
            if hasattr(sys, "remote_exec"):
                stops_in_it(client, configuration, program)
            else:
                client.initialize()
                number = client.send("attach", configuration)
                with pytest.raises(Exception, match=r"3\.14"):
                    client.response(number)
    finally:
        process.kill()
        process.wait()
