"""The clients of a program in the process of its adapter: it has one, and its children theirs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from tests import test_dap_adapter_children as children
from tests import test_dap_adapter_ends as ends
from tests.dap_adapter import (
    PATIENCE,
    ROOT,
    Adapter,
    InProcess,
    command,
    environment,
    port,
    stdio,
)
from tests.dap_client import RefusedError
from tests.test_dap_adapter import written
from tests.test_dap_adapter_ends import first_line, running

programs = children.programs


@pytest.fixture
def adapter():
    with stdio(kind=InProcess) as client:
        yield client


class TestClients:
    def test_there_is_one_program_in_a_process(self, tmp_path):
        program = written(tmp_path, ends.WAIT)
        with port() as (address, process):
            first, second, third = (InProcess.connect(address) for _ in range(3))
            second.initialize()
            running(first, program)
            for client in (second, third):
                if client is third:
                    client.initialize()
                with pytest.raises(RefusedError, match="start another adapter"):
                    client.request("launch", {"code": "1"})
                with pytest.raises(RefusedError, match="start another adapter"):
                    client.request("attach", {"connect": {"port": 1}})
                client.request("disconnect")
            first.request("disconnect")
            assert first.ended() == 128 + signal.SIGTERM
            assert process.wait(PATIENCE) == -signal.SIGTERM
            for client in (first, second, third):
                client.close()

    def test_another_client_that_debugs_is_not_disturbed(self, tmp_path):
        program = written(tmp_path, ends.WAIT)
        with port() as (address, process):
            first, second = Adapter.connect(address), InProcess.connect(address)
            running(first, program)
            second.initialize()
            with pytest.raises(RefusedError, match="this adapter serves another client"):
                second.request("launch", {"code": "1"})
            for client in (second, first):
                client.request("disconnect")
                client.close()
            assert process.wait(PATIENCE) == 0

    def test_a_socket_goes_with_the_program(self, tmp_path):
        path = tmp_path / "adapter.sock"
        process = subprocess.Popen(
            command("--socket", path), stderr=subprocess.PIPE, text=True, env=environment()
        )
        try:
            assert process.stderr is not None
            process.stderr.readline()
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(str(path))
            client = InProcess(stream)
            client.launch(written(tmp_path, "raise SystemExit(2)"))
            client.request("configurationDone")
            assert client.ended() == 2
            client.request("disconnect")
            client.close()
            assert process.wait(PATIENCE) == 2
            assert not path.exists()
        finally:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize("words", [["-m", "dapper.adapter"], ["-m", "dapper", "adapter"]])
    def test_other_ways_to_start_the_adapter(self, tmp_path, words):
        near, far = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=far.fileno(),
            stdout=far.fileno(),
            env=environment(PYTHONPATH=str(ROOT / "python")),
        )
        far.close()
        client = InProcess(near)
        client.process = process
        program = written(tmp_path, "import sys\nprint(sys.path[0])\nprint(__name__)\n")
        client.launch(program)
        client.set_breakpoints(program, 3)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        client.request("continue", {"threadId": stop["threadId"]})
        assert client.ended() == 0
        assert client.output() == f"{tmp_path}\n__main__\n"
        assert client.leave() == 0
        client.close()


class TestChildren:
    def test_a_client_comes_to_the_adapter_of_the_parent(self, adapter, programs):
        children.test_a_client_comes_to_the_adapter_of_the_parent(adapter, programs)

    def test_a_client_comes_by_an_adapter_of_its_own(self, adapter, programs):
        children.test_a_client_comes_by_an_adapter_of_its_own(adapter, programs)

    def test_a_forked_child_has_a_client_of_its_own(self, adapter, tmp_path):
        source = """
            import os
            pid = os.fork()
            if not pid:
                print("child")
                os._exit(9)
            print("parent", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
        program = written(tmp_path, source)
        children.begin(adapter, program)
        configuration = children.asked(adapter)
        connect = configuration["connect"]
        child = Adapter.connect((connect["host"], connect["port"]))
        children.attend(child, configuration)
        child.set_breakpoints(program, 5)
        child.request("configurationDone")
        stop = child.stopped("breakpoint")
        child.request("continue", {"threadId": stop["threadId"]})
        assert child.event("exited")["exitCode"] == 9
        child.close()
        assert adapter.ended() == 0
        assert adapter.output() == "child\nparent 9\n"

    def test_a_child_that_is_left_alone_holds_nothing_up(self, adapter, tmp_path):
        source = """
            import os, time
            if not os.fork():
                time.sleep(5)
                os._exit(0)
            print("parent", flush=True)
            time.sleep(0.5)
            os.execv("/bin/true", ["true"])
        """
        adapter.launch(written(tmp_path, source), subProcess=False)
        adapter.send("configurationDone")
        assert first_line(adapter) == "parent"
        adapter.read_to_the_end()
        assert adapter.process.wait(PATIENCE) == 0
