"""The adapter: what it launches, what it refuses, what it passes on."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.dap_adapter import FOLDER, PATIENCE, ROOT, Adapter, command, environment, port, stdio
from tests.dap_client import Body, RefusedError

LOOK = """\
import json, os, signal, sys
print(json.dumps([sys.argv, sys.path, __name__, __file__, __spec__ is None, os.getcwd()]))
print(sys.flags, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
print([signal.getsignal(number) for number in signal.valid_signals()])
"""


def written(folder: Path, source: str, name: str = "program.py") -> Path:
    program = folder / name
    program.write_text(textwrap.dedent(source))
    return program


@pytest.fixture
def adapter():
    with stdio() as client:
        yield client


def said(client: Adapter) -> str:
    """What dapper told about itself."""
    return client.output("important")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
    )


class TestCommandLine:
    def test_help_has_examples_and_statuses(self):
        done = run(*command("--help"))
        assert done.returncode == 0
        assert "dapper-adapter --port 5678" in done.stdout
        assert "Exit status" in done.stdout

    def test_wrong_use_is_2(self):
        assert run(*command("--port", "x")).returncode == 2
        assert run(*command("--host", "127.0.0.1")).returncode == 2

    def test_a_port_that_is_taken_is_1(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = run(*command("--port", str(taken.getsockname()[1])))
        assert done.returncode == 1
        assert "cannot listen at 127.0.0.1:" in done.stderr

    def test_a_folder_that_is_run_imports_the_engine_alone(self):
        done = run(sys.executable, "-X", "importtime", FOLDER, "--help")
        imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert done.returncode == 0
        assert not any(name.startswith("dapper") for name in imported), imported

    @pytest.mark.parametrize("words", [["-m", "dapper.adapter"], ["-m", "dapper", "adapter"]])
    def test_other_ways_to_start_it(self, words):
        path = {"PYTHONPATH": str(ROOT / "python")}
        done = subprocess.run(
            [sys.executable, *words, "--help"],
            check=False,
            capture_output=True,
            text=True,
            env=environment(**path),
            timeout=PATIENCE,
        )
        assert done.returncode == 0
        assert "Debug Adapter Protocol" in done.stdout


class TestConnections:
    def test_stdio_ends_with_its_client(self, adapter):
        adapter.initialize()
        assert adapter.leave() == 0

    def test_stdio_ends_when_the_client_closes(self, adapter):
        adapter.initialize()
        adapter.close()
        assert adapter.process.wait(PATIENCE) == 0

    def test_a_port_serves_several_clients_and_ends_with_the_last(self):
        with port() as (address, process):
            # One that says nothing, or something else, is no client.
            socket.create_connection(address).close()
            with socket.create_connection(address) as browser:
                browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert browser.recv(100) == b""
            clients = [Adapter.connect(address) for _ in range(2)]
            for client in clients:
                client.initialize()
            for client in clients:
                assert process.poll() is None
                client.request("disconnect")
                client.read_to_the_end()
                client.close()
            assert process.wait(PATIENCE) == 0

    def test_a_socket_is_private_and_goes_with_the_adapter(self, tmp_path):
        path = tmp_path / "adapter.sock"
        process = subprocess.Popen(
            command("--socket", path), stderr=subprocess.PIPE, text=True, env=environment()
        )
        try:
            assert process.stderr is not None
            assert str(path) in process.stderr.readline()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(str(path))
            client = Adapter(stream)
            client.initialize()
            client.request("disconnect")
            client.close()
            assert process.wait(PATIENCE) == 0
            assert not path.exists()
        finally:
            process.kill()
            process.communicate()

    def test_a_signal_ends_it(self, adapter):
        adapter.initialize()
        adapter.process.terminate()
        assert adapter.process.wait(PATIENCE) == 128 + 15


class TestMessages:
    def test_out_of_order_requests_are_answered(self, adapter):
        with pytest.raises(RefusedError, match='before "initialize"'):
            adapter.request("threads")
        with pytest.raises(RefusedError, match='before "initialize"'):
            adapter.request("launch", {"program": "x.py"})
        adapter.initialize()
        with pytest.raises(RefusedError, match="answered already"):
            adapter.initialize()
        with pytest.raises(RefusedError, match='before "launch"'):
            adapter.request("configurationDone")
        with pytest.raises(RefusedError, match="only a program that was launched"):
            adapter.request("restart")

    def test_unknown_commands_are_refused(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "print(1)"))
        with pytest.raises(RefusedError, match="nonsense"):
            adapter.request("nonsense")
        adapter.request("configurationDone")

    def test_malformed_messages_are_told(self, adapter):
        for text in (b"{", b"[]", b'{"seq": 1}', b'{"type": "request", "command": "x"}', b"\xff"):
            adapter.send_raw(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
            assert "passed over" in adapter.event("output")["output"]
        adapter.initialize()

    @pytest.mark.parametrize(
        "text", [b"Content-Length: 2147483648\r\n\r\n", b"Content-Length: x\r\n\r\n", b"GET / "]
    )
    def test_what_is_not_the_protocol_ends_the_session(self, adapter, text):
        adapter.initialize()
        adapter.send_raw(text)
        assert adapter.process.wait(PATIENCE) == 0

    def test_half_a_header_is_no_hang(self, adapter):
        adapter.initialize()
        adapter.send_raw(b"Content-Le")
        adapter.close()
        assert adapter.process.wait(PATIENCE) == 0


class TestLaunch:
    def test_stops_at_a_breakpoint(self, adapter, tmp_path):
        program = written(tmp_path, "x = 1\nprint('two')\nraise SystemExit(3)\n")
        adapter.launch(program)
        assert adapter.set_breakpoints(program, 2)[0]["line"] == 2
        adapter.request("configurationDone")
        adapter.request("configurationDone")
        stop = adapter.stopped("breakpoint")
        assert adapter.at(stop) == ("<module>", 2)
        assert adapter.output() == ""
        adapter.request("continue", {"threadId": stop["threadId"]})
        assert adapter.ended() == 3
        assert adapter.output() == "two\n"
        with pytest.raises(RefusedError, match="has ended"):
            adapter.request("threads")
        assert adapter.leave() == 0

    @pytest.mark.parametrize("debugs", [True, False])
    def test_is_a_plain_run(self, adapter, tmp_path, debugs):
        program = written(tmp_path, LOOK)
        plain = subprocess.run(
            [sys.executable, "-O", program, "a b", "-c"],
            check=False,
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        adapter.launch(program, args=["a b", "-c"], pythonArgs=["-O"], noDebug=not debugs)
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == plain.stdout

    def test_a_module(self, adapter, tmp_path):
        written(tmp_path, "import sys\nprint(__spec__.name, sys.argv[1:])", "thing.py")
        adapter.initialize()
        launch = adapter.send(
            "launch", {"module": "thing", "cwd": str(tmp_path), "args": "one 'two three'"}
        )
        adapter.response(launch)
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == "thing ['one', 'two three']\n"

    def test_code_and_variables(self, adapter, tmp_path):
        file = tmp_path / "some.env"
        file.write_text("A=1\nB=two # and more\n")
        adapter.initialize()
        adapter.send(
            "launch",
            {
                "code": ["import os", "print(os.environ['A'], os.environ['B'], os.getenv('HOME'))"],
                "env": {"B": "2", "HOME": None},
                "envFile": str(file),
            },
        )
        adapter.event("initialized")
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == "1 2 None\n"

    def test_another_interpreter(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "print(1)"), python=[sys.executable, "-X", "dev"])
        adapter.request("configurationDone")
        assert adapter.ended() == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "nothing to run"),
            ({"program": "/no/such/x.py"}, '"program" does not exist: /no/such/x.py'),
            ({"program": 3}, '"program" has to be a string, and is 3'),
            ({"program": "x.py", "module": "x"}, "exclude each other"),
            ({"code": "def"}, "does not compile: SyntaxError"),
            ({"code": "1", "python": "/no/such/python"}, '"python" is not an interpreter'),
            ({"code": "1", "python": "true"}, "does not answer like a Python interpreter"),
            ({"code": "def", "python": [sys.executable, "-B"]}, "does not compile: SyntaxError"),
            ({"code": "1", "pythonArgs": ["-BI"]}, "no debugger reaches a program"),
            ({"code": "1", "cwd": "/no/such"}, '"cwd" is not a folder: /no/such'),
            ({"code": "1", "args": "a 'b"}, "a quotation mark too many"),
            ({"code": "1", "args": [1]}, '"args" has to be a string or a list of strings'),
            ({"code": "1", "env": {"A": []}}, '"env.A" has to be a string or null'),
            ({"code": "1", "console": "none"}, '"console" has to be "internalConsole"'),
            ({"code": "1", "sudo": True}, '"sudo" is not supported'),
            ({"code": "1", "stopOnEntry": "yes"}, '"stopOnEntry" has to be true or false'),
            (
                {"code": "1", "frameEvalConfig": {"backened": "auto"}},
                'unknown option: "backened" \\(did you mean "backend"',
            ),
            (
                {"code": "1", "frameEvalConfig": {"backend": "fast"}},
                '"frameEvalConfig.backend" has to be one of auto, tracing, eval_frame',
            ),
        ],
    )
    def test_bad_values_are_refused(self, adapter, arguments, message):
        adapter.initialize()
        with pytest.raises(RefusedError, match=message):
            adapter.request("launch", arguments)
        # It can be corrected.
        adapter.send("launch", {"code": "print(1)"})
        adapter.event("initialized")
        adapter.request("configurationDone")
        assert adapter.ended() == 0

    def test_a_program_that_does_not_compile_is_shown_to_the_user(self, adapter, tmp_path):
        program = written(tmp_path, "x = 1\nif x\n    pass\n")
        adapter.initialize()
        seq = adapter.send("launch", {"program": str(program)})
        with pytest.raises(RefusedError, match=r"does not compile: SyntaxError.*line 2"):
            adapter.response(seq)

    def test_odd_keys_are_told(self, adapter):
        adapter.initialize()
        adapter.send("launch", {"code": "1", "justmycode": True, "django": True, "__id": 1})
        adapter.event("initialized")
        assert '"justmycode" (did you mean "justMyCode"?)' in said(adapter)
        assert "the debugging of templates is off" in said(adapter)
        assert "__id" not in said(adapter)

    def test_no_debug(self, adapter, tmp_path):
        program = written(tmp_path, "import os\nprint('DAPPER' in os.environ)\nraise SystemExit(7)")
        adapter.launch(program, noDebug=True)
        assert adapter.set_breakpoints(program, 1)[0]["verified"] is False
        adapter.request("configurationDone")
        assert adapter.ended() == 7
        assert adapter.output() == "False\n"

    def test_a_program_that_ends_before_it_connects(self, adapter, tmp_path):
        # An interpreter that leaves at once.
        wrapper = tmp_path / "python"
        wrapper.write_text(
            f'#!/bin/sh\ncase "$*" in *-I*) exec {sys.executable} "$@";; esac\necho early; exit 9\n'
        )
        wrapper.chmod(0o755)
        adapter.initialize()
        seq = adapter.send("launch", {"code": "1", "python": str(wrapper)})
        with pytest.raises(RefusedError, match="ended with status 9 before"):
            adapter.response(seq)
        assert adapter.ended() == 9
        assert adapter.output() == "early\n"

    def test_a_program_that_never_connects(self, adapter, tmp_path):
        wrapper = tmp_path / "python"
        wrapper.write_text(
            f'#!/bin/sh\ncase "$*" in *-I*) exec {sys.executable} "$@";; esac\nexec sleep 60\n'
        )
        wrapper.chmod(0o755)
        adapter.initialize()
        seq = adapter.send("launch", {"code": "1", "python": str(wrapper), "timeout": 0.5})
        with pytest.raises(RefusedError, match=r"has not come to the debugger within 0.5 s"):
            adapter.response(seq)
        assert adapter.leave() == 0


class TestOutput:
    def test_characters_are_whole_and_bytes_are_not_lost(self, adapter, tmp_path):
        source = """
            import os, time
            for byte in "é€😀".encode():
                os.write(1, bytes([byte]))
                time.sleep(0.01)
            os.write(2, b"a\\xffb")
        """
        adapter.launch(written(tmp_path, source))
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == "é€😀"
        assert adapter.output("stderr") == "a\ufffdb"

    def test_all_of_it_comes_before_the_end(self, adapter, tmp_path):
        source = "for i in range(100_000): print(i)\nprint('x' * 1_000_000, end='')\n"
        adapter.launch(written(tmp_path, source), noDebug=True, env={"PYTHONUNBUFFERED": ""})
        adapter.event("exited")
        expected = "".join(f"{i}\n" for i in range(100_000)) + "x" * 1_000_000
        assert adapter.output() == expected

    def test_a_child_that_stays_holds_nothing_up(self, adapter, tmp_path):
        source = """
            import subprocess, sys
            child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
            print(child.pid)
        """
        adapter.launch(written(tmp_path, source), subProcess=False)
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        os.kill(int(adapter.output()), 9)


def test_the_answer_of_initialize_is_that_of_the_server(adapter):
    capabilities = adapter.initialize()
    assert capabilities["supportsConfigurationDoneRequest"] is True
    assert capabilities["supportsRestartRequest"] is True
    assert capabilities["supportTerminateDebuggee"] is True


def body(client: Adapter, name: str) -> Body:
    return client.event(name)


def test_the_process_is_told(adapter, tmp_path):
    adapter.launch(written(tmp_path, "import os, json\nprint(json.dumps(os.getpid()))"))
    process = body(adapter, "process")
    adapter.request("configurationDone")
    adapter.ended()
    assert process["systemProcessId"] == json.loads(adapter.output())
    assert process["startMethod"] == "launch"
