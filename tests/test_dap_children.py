"""Processes that the program starts: each gets a client of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.dap_client import Body, Client, RefusedError, listening

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHILD = """\
import os, sys
def work(n):
    return n * 2
work(21)
sys.exit(work(2))
"""


def join(call: Body, prepare: Callable[[Client], None] = lambda _: None) -> Client:
    """Attach to the child that the client was told of."""
    client = Client.connect((call["connect"]["host"], call["connect"]["port"]))
    client.begin(**call)
    prepare(client)
    client.request("configurationDone")
    return client


def serve_children(client: Client, path: Path, line: int, count: int) -> list[int]:
    """Join so many children, each of which stops at the line; returns their numbers."""
    seen = []
    for _ in range(count):
        call = client.event("debugpyAttach")
        child = join(call, lambda child: _set(child, path, line))
        stop = child.stopped("breakpoint")
        assert child.frames(stop["threadId"])[0]["line"] == line
        seen.append(call["subProcessId"])
        child.set_breakpoints(path)
        child.request("continue", {"threadId": stop["threadId"]})
        child.event("terminated")
        child.close()
    return seen


def _set(client: Client, path: Path, line: int) -> None:
    client.set_breakpoints(path, line)


STARTS = {
    "subprocess": "status = subprocess.run([sys.executable, 'child.py']).returncode",
    "environment": (
        "status = subprocess.run([sys.executable, 'child.py'], env=dict(os.environ, X='1'))"
        ".returncode"
    ),
    "cleaned": "status = subprocess.run([sys.executable, 'child.py'], env={}).returncode",
    "posix_spawn": """\
pid = os.posix_spawn(sys.executable, [sys.executable, "child.py"], {"PYTHONPATH": "x"})
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])""",
    "shell": "status = subprocess.run(f'{sys.executable} child.py', shell=True).returncode",
    "script": "status = subprocess.run(['sh', './script.sh']).returncode",
    "shebang": "status = subprocess.run(['./child.py']).returncode",
    "spawn": "status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, 'child.py'])",
    "system": "status = os.waitstatus_to_exitcode(os.system(f'{sys.executable} child.py'))",
    "preexec": (
        "status = subprocess.run([sys.executable, 'child.py'], preexec_fn=os.setsid).returncode"
    ),
    "exec": """\
pid = os.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, 'child.py'])
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])""",
}


@pytest.mark.parametrize("start", STARTS)
def test_a_child_is_joined_however_it_is_started(tmp_path, start):
    child = tmp_path / "child.py"
    child.write_text(f"#!{sys.executable}\n{CHILD}")
    child.chmod(0o755)
    (tmp_path / "script.sh").write_text(f"X=1 {sys.executable} child.py\n")
    source = f"import os, subprocess, sys\n{STARTS[start]}\nprint('status', status)\n"
    with listening(tmp_path, source) as (client, _, process):
        client.begin(justMyCode=False, name="here", type="dapper", stopOnEntry=True)
        client.request("configurationDone")
        if start == "exec":
            # The fork is a process of its own before it becomes another program.
            call = client.event("debugpyAttach")
            fork = join(call)
            fork.read_to_the_end()
            fork.close()
        call = client.event("debugpyAttach")
        assert call["name"] == f"Subprocess {call['subProcessId']}"
        assert (call["type"], call["request"], call["justMyCode"]) == ("dapper", "attach", False)
        assert "stopOnEntry" not in call
        joined = join(call, lambda joined: _set(joined, child, 4))
        for value in ("21", "2"):
            stop = joined.stopped("breakpoint")
            assert joined.frames(stop["threadId"])[0]["line"] == 4
            assert value
            joined.request("continue", {"threadId": stop["threadId"]})
        assert joined.event("exited") == {"exitCode": 4}
        joined.event("terminated")
        joined.request("disconnect")
        joined.close()
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out.splitlines()[-1]) == (0, "status 4")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_multiprocessing_are_joined(tmp_path, method):
    source = f"""\
        import multiprocessing
        def work(n):
            return n * 2
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            process = context.Process(target=work, args=(3,))
            process.start()
            process.join()
            print("status", process.exitcode)
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin()
        client.request("configurationDone")
        pids = serve_children(client, path, 3, 1)
        assert pids != [process.pid]
        assert process.communicate(timeout=30)[0] == "status 0\n"


def test_processes_of_a_pool_are_joined(tmp_path):
    source = """\
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing
        def work(n):
            return n * 2
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                print(list(pool.map(work, range(2))))
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin()
        client.request("configurationDone")
        serve_children(client, path, 4, 1)
        assert process.communicate(timeout=30)[0] == "[0, 2]\n"


def test_workers_of_xdist_are_joined(tmp_path):
    (tmp_path / "test_it.py").write_text("def test():\n    assert True\n")
    source = """\
        import pytest
        raise SystemExit(pytest.main(["-q", "-n1", "-p", "no:cacheprovider", "test_it.py"]))
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        serve_children(client, tmp_path / "test_it.py", 2, 1)
        assert process.wait(60) == 0


def test_a_fork_goes_its_own_way(tmp_path):
    source = """\
        import os
        def work(n):
            return n
        pid = os.fork()
        if pid == 0:
            work(1)
            os._exit(7)
        here = work(2)
        print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin()
        client.set_breakpoints(path, 8)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        call = client.event("debugpyAttach")
        child = join(call, lambda child: _set(child, path, 3))
        inner = child.stopped("breakpoint")
        assert [f["line"] for f in child.frames(inner["threadId"])][:2] == [3, 6]
        assert client.frames(stop["threadId"])[0]["line"] == 8
        child.request("continue", {"threadId": inner["threadId"]})
        assert child.event("exited") == {"exitCode": 7}
        child.close()
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.communicate(timeout=30)[0] == "status 7\n"


def test_children_of_children_are_joined(tmp_path):
    (tmp_path / "child.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'grandchild.py'])\n"
    )
    grandchild = tmp_path / "grandchild.py"
    grandchild.write_text("x = 1\ny = 2\n")
    source = "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'])\n"
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        child = join(client.event("debugpyAttach"))
        serve_children(client, grandchild, 2, 1)
        child.event("terminated")
        child.close()
        assert process.wait(30) == 0


def test_a_client_that_can_is_asked_to_start_debugging(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    source = "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'])\n"
    with listening(tmp_path, source) as (client, _, process):
        client.request("initialize", {"adapterID": "x", "supportsStartDebuggingRequest": True})
        client.request("attach", {"pathMappings": []})
        client.request("configurationDone")
        asked = client.reverse_request("startDebugging")
        client.answer(asked)
        call: dict[str, Any] = asked["arguments"]["configuration"]
        assert asked["arguments"]["request"] == "attach"
        joined = join(call, lambda joined: _set(joined, child, 3))
        joined.stopped("breakpoint")
        joined.request("disconnect")
        joined.close()
        assert process.wait(30) == 0
        assert not any(event["event"] == "debugpyAttach" for event in client.events)


@pytest.mark.parametrize("way", ["settings", "configure", "nobody"])
def test_children_that_are_not_wanted_run_on(tmp_path, way):
    (tmp_path / "child.py").write_text(CHILD)
    configure = "import dapper\ndapper.configure(subProcess=False)\n" if way == "configure" else ""
    source = "import os, subprocess, sys, time\n"
    source += "begun = time.monotonic()\n"
    source += "print(subprocess.run([sys.executable, 'child.py']).returncode)\n"
    source += "pid = os.fork()\nif not pid: os._exit(3)\n"
    source += "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    source += "print(time.monotonic() - begun < 8)\n"
    begin = f"{configure}import dapper\nport = dapper.listen(0)[1]\n"
    begin += "print(port, flush=True)\n"
    if way != "nobody":
        begin += "dapper.wait_for_client()\n"
    (tmp_path / "program.py").write_text(begin + source)
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        client = None
        if way != "nobody":
            client = Client.connect(("127.0.0.1", port))
            client.begin(subProcess=way != "settings")
            client.request("configurationDone")
        assert process.communicate(timeout=60)[0] == "4\n3\nTrue\n"
        if client is not None:
            client.read_to_the_end()
            assert not any(event["event"] == "debugpyAttach" for event in client.events)
            client.close()
    finally:
        process.kill()
        process.communicate()


def test_a_child_that_nobody_attends_to_goes_on(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    source = (
        "import subprocess, sys\nprint(subprocess.run([sys.executable, 'child.py']).returncode)"
    )
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        begun = time.monotonic()
        call = client.event("debugpyAttach")
        assert process.communicate(timeout=60)[0] == "4\n"
        assert time.monotonic() - begun > 8
        with pytest.raises((RefusedError, OSError, EOFError)):
            # At once: `Client.connect` would wait for somebody who listens.
            Client(socket.create_connection(tuple(call["connect"].values()))).begin(**call)


def test_a_child_that_is_killed_is_no_matter(tmp_path):
    (tmp_path / "child.py").write_text("import time\ntime.sleep(60)\n")
    source = """\
        import os, signal, subprocess, sys
        child = subprocess.Popen([sys.executable, "child.py"])
        here = 1
        child.kill()
        print(child.wait())
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin()
        client.set_breakpoints(path, 3)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        call = client.event("debugpyAttach")
        child = join(call)
        client.request("continue", {"threadId": stop["threadId"]})
        child.read_to_the_end()
        child.close()
        assert process.communicate(timeout=30)[0] == f"{-signal.SIGKILL}\n"


def test_nothing_of_the_listener_is_left(tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    source = "import dapper, os\ndapper.listen(0)\nprint(len(os.listdir(os.environ['TMPDIR'])))\n"
    environment = dict(os.environ, TMPDIR=str(folder))
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == "1\n"
    assert list(folder.iterdir()) == []
