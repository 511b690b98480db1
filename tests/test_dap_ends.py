"""How a client and a program part, and who may not come in."""

from __future__ import annotations

import json
import signal
import socket
import textwrap
import time
from contextlib import suppress

import pytest
from tests.dap_client import Client, RefusedError, listening
from tests.dap_programs import BUSY, program, running
from tests.ports import free_port
from tests.test_idle import NOTHING, STATE

# Ends


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(4)", 4),
        ("raise ValueError", 1),
        ("os._exit(5)", 5),
        ("pass", 0),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
        ("threading.Thread(target=time.sleep, args=(0.2,)).start(); sys.exit(2)", 2),
    ],
)
def test_the_end_is_told_with_its_status(tmp_path, end, status):
    source = f"import os, sys, threading, time\nx = 1\nprint(x)\n{end}\n"
    with listening(tmp_path, source) as (client, path, process):
        client.begin(redirectOutput=True)
        client.set_breakpoints(path, {"line": 3, "logMessage": "x is {x}"})
        client.request("configurationDone")
        assert client.event("exited") == {"exitCode": status}
        client.event("terminated")
        client.request("disconnect")
        client.read_to_the_end()
        assert process.wait(30) == status


def test_disconnect_leaves_the_program_alone_and_the_next_client_is_welcome(tmp_path):
    (tmp_path / "state.py").write_text(STATE)
    source = "import json, os, sys, time, state\nwrite = sys.stdout.write\n" + textwrap.dedent(
        BUSY
    ).replace("    n = work(n)", "    n = work(n)\n    tell()")
    source = source.replace(
        "n = 0\n",
        "def tell():\n"
        "    if os.path.exists('ask'):\n"
        "        os.remove('ask')\n"
        "        found = state.state()\n"
        "        found['hook'] = sys.breakpointhook is sys.__breakpointhook__\n"
        "        found['write'] = 'write' in vars(sys.stdout)\n"
        "        found['code'] = any('robe' in repr(c) for c in work.__code__.co_consts)\n"
        "        open('told.part', 'w').write(json.dumps(found))\n"
        "        os.replace('told.part', 'told')\n"
        "n = 0\n",
    )
    port = free_port()
    path = program(tmp_path, f"import dapper\ndapper.listen({port})\n" + source)
    line = path.read_text().splitlines().index("    return n + 1") + 1

    def state() -> dict[str, object]:
        (tmp_path / "ask").touch()
        until = time.monotonic() + 30
        while not (tmp_path / "told").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        found: dict[str, object] = json.loads((tmp_path / "told").read_text())
        (tmp_path / "told").unlink()
        return found

    plain = {**NOTHING, "hook": True, "write": False, "code": False}
    with running(path.name, cwd=tmp_path) as process:
        for round_ in range(4):
            client = Client.connect(("127.0.0.1", port))
            client.begin(redirectOutput=True)
            client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
            client.set_breakpoints(path, line)
            client.request("configurationDone")
            stop = client.stopped("breakpoint")
            client.request("stepIn", {"threadId": stop["threadId"]})
            client.stopped("step")
            if round_ % 2 == 0:
                client.request("disconnect")
                client.read_to_the_end()
            client.close()
            found = state()
            until = time.monotonic() + 10
            while found != plain and time.monotonic() < until:
                found = state()
            assert found == plain
        assert process.poll() is None


@pytest.mark.parametrize("stopped", [True, False])
def test_disconnect_ends_the_program_when_asked_to(tmp_path, stopped):
    with listening(tmp_path, BUSY) as (client, path, process):
        client.begin()
        if stopped:
            client.set_breakpoints(path, 3)
        client.request("configurationDone")
        if stopped:
            client.stopped("breakpoint")
        client.request("disconnect", {"terminateDebuggee": True})
        client.read_to_the_end()
        assert process.wait(30) == -signal.SIGTERM


def test_terminate_is_gentle_first(tmp_path):
    source = """\
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        client.request("terminate")
        assert process.stdout.readline() == "no\n"
        client.request("terminate")
        assert process.wait(30) == -signal.SIGKILL


def test_terminate_interrupts_where_that_is_asked_for(tmp_path):
    source = """\
        import time
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            print("interrupted")
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin(onTerminate="KeyboardInterrupt")
        client.set_breakpoints(path, 4)
        client.request("configurationDone")
        client.stopped("breakpoint")
        client.set_breakpoints(path)
        client.request("terminate")
        assert process.communicate(timeout=30)[0] == "interrupted\n"
        assert process.returncode == 0


# Who may come in


def test_a_second_client_is_refused_with_a_word(tmp_path):
    with listening(tmp_path, BUSY) as (client, path, process):
        client.begin()
        client.request("configurationDone")
        address = client._stream.getpeername()
        second = Client.connect(address)
        with pytest.raises(RefusedError, match=f"process {process.pid} is debugged by another"):
            second.request("initialize", {"adapterID": "x"})
        second.read_to_the_end()
        second.close()
        client.set_breakpoints(path, 3)
        client.stopped("breakpoint")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01",
        b"Content-Length: 2147483648\r\n\r\n",
        b"Content-Length: 3\r\n\r\n{x}",
    ],
)
def test_what_is_no_client_is_dropped_and_takes_no_place(tmp_path, said):
    with listening(tmp_path, BUSY, waits=False) as (client, path, _):
        address = client._stream.getpeername()
        silent = [Client.connect(address) for _ in range(40)]
        with socket.create_connection(address) as stranger:
            stranger.settimeout(30)
            stranger.sendall(said)
            with suppress(ConnectionError):
                assert stranger.recv(100) == b""
        client.close()
        late = Client.connect(address)
        late.begin()
        late.set_breakpoints(path, 3)
        late.request("configurationDone")
        late.stopped("breakpoint")
        for one in (*silent, late):
            one.close()


def test_nothing_is_done_before_the_handshake(tmp_path):
    with listening(tmp_path, BUSY, waits=False) as (client, path, _):
        for command in ("threads", "evaluate", "attach", "configurationDone", "launch"):
            with pytest.raises(RefusedError, match="initialize comes first"):
                client.request(command, {"expression": "open('made', 'w')"})
        client.request("initialize", {"adapterID": "x"})
        with pytest.raises(RefusedError, match="attach or launch comes first"):
            client.request("evaluate", {"expression": "open('made', 'w')"})
        with pytest.raises(RefusedError, match="attach or launch comes first"):
            client.request("initialize", {"adapterID": "x"})
        client.request("attach", {})
        with pytest.raises(RefusedError, match="asked for already"):
            client.request("attach", {})
        client.set_breakpoints(path, 3)
        client.stopped("breakpoint")
        assert not (tmp_path / "made").exists()


def test_only_this_machine_reaches_it_unless_told_otherwise(tmp_path):
    source = """\
        import dapper
        print(dapper.listen(0)[0])
        """
    path = program(tmp_path, source)
    with running(path.name, cwd=tmp_path) as process:
        assert process.communicate(timeout=30) == ("127.0.0.1\n", "")
