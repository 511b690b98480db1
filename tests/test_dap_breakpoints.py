"""Where breakpoints go, what they say of themselves, and their messages."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.dap_client import RefusedError, listening, printed, printed_line

if TYPE_CHECKING:
    pass

PLACES = """\
import time

def first(x):
    # a comment

    total = [i for i in range(x)]
    return total

first(2)
print("ready", flush=True)
while True:
    time.sleep(0.01)
    first(2)
"""


def _running(client, process):
    client.begin()
    client.request("configurationDone")
    assert printed_line(process) == "ready\n"


def test_locations_of_breakpoints(tmp_path):
    with listening(tmp_path, PLACES) as (client, program, process):
        client.begin()

        def lines(first, last):
            arguments = {"source": {"path": str(program)}, "line": first, "endLine": last}
            told = client.request("breakpointLocations", arguments)["breakpoints"]
            return sorted({one["line"] for one in told})

        assert lines(1, 9) == [1, 3, 6, 7, 9]
        assert lines(4, 5) == []
        arguments = {"source": {"path": str(program)}, "line": 6}
        told = client.request("breakpointLocations", arguments)["breakpoints"]
        assert told[0] == {"line": 6}
        with pytest.raises(RefusedError, match="source cannot be read"):
            client.request("breakpointLocations", {"source": {"path": "/no/such.py"}, "line": 1})
        assert process.poll() is None


def test_columns_mean_the_code_that_stands_there(tmp_path):
    source = """\
        jobs = [lambda n: n + 1, lambda n: n * 2]
        def run():
            return [job(3) for job in jobs]
        print(run())
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        arguments = {"source": {"path": str(program)}, "line": 1}
        told = client.request("breakpointLocations", arguments)["breakpoints"]
        columns = [one["column"] for one in told if "column" in one]
        assert 26 in columns
        client.set_breakpoints(program, {"line": 1, "column": 26})
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        assert client.at(stop) == ("<lambda>", 1)
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0
        assert printed(process) == "[4, 6]\n"


def test_blank_lines_snap_and_lines_beyond_the_end_are_told(tmp_path):
    with listening(tmp_path, PLACES) as (client, program, process):
        client.begin()
        for running in (False, True):
            told = client.set_breakpoints(program, {"line": 4, "condition": "x > 9"}, 5, 400)
            if running:
                assert [point["line"] for point in told] == [6, 6, 400]
            assert [point["verified"] for point in told] == [running, running, False]
            assert told[0]["line"] == told[1]["line"] == 6
            assert "no code at or after line 400" in told[2]["message"]
            if running:
                break
            client.set_breakpoints(program)
            client.request("configurationDone")
            assert printed_line(process) == "ready\n"
        assert client.at(client.stopped("breakpoint")) == ("first", 6)


def test_files_that_nothing_loads_say_what_to_do(tmp_path):
    (tmp_path / "compiled.pyx").write_text("x = 1\n")
    (tmp_path / "unused.py").write_text("x = 1\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json").mkdir()
    (tmp_path / "elsewhere" / "json" / "decoder.py").write_text("x = 1\n")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("inside.py", "x = 1\n")
    source = PLACES.replace("import time", "import time, json")
    with listening(tmp_path, source) as (client, _, process):
        _running(client, process)

        def message(path):
            (told,) = client.set_breakpoints(path, 1)
            assert not told["verified"]
            return told["reason"], told["message"]

        assert message(tmp_path / "unused.py")[0] == "pending"
        assert "it is verified when one is" in message(tmp_path / "unused.py")[1]
        reason, text = message(tmp_path / "missing.py")
        assert reason == "failed"
        assert "does not exist where the program runs" in text
        assert "pathMappings" in text
        assert "Cython" in message(tmp_path / "compiled.pyx")[1]
        assert "is an archive" in message(tmp_path / "packed.zip" / "inside.py")[1]
        text = message(tmp_path / "elsewhere" / "json" / "decoder.py")[1]
        assert "the program has loaded" in text
        assert "json/decoder.py" in text


def test_a_file_is_the_same_by_link_and_by_mapping_but_not_by_name(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "program.py").write_text(PLACES)
    with listening(tmp_path, PLACES) as (client, program, process):
        mapping = {"localRoot": "C:\\editor", "remoteRoot": str(tmp_path)}
        client.begin(pathMappings=[mapping])
        client.request("configurationDone")
        assert printed_line(process) == "ready\n"
        (told,) = client.set_breakpoints(other / "program.py", 7)
        assert not told["verified"]
        (told,) = client.set_breakpoints(link / "program.py", 7)
        assert told["verified"]
        assert client.at(client.stopped("breakpoint")) == ("first", 7)
        client.set_breakpoints(link / "program.py")
        (told,) = client.set_breakpoints("C:\\editor\\program.py", 6)
        assert told["verified"]
        client.request("continue", {"threadId": 1})
        stop = client.stopped("breakpoint")
        frame = client.frames(stop["threadId"])[0]
        assert frame["line"] == 6
        assert frame["source"]["path"] == "C:\\editor\\program.py"
        assert program.exists()


def test_functions_stop_by_name(tmp_path):
    with listening(tmp_path, PLACES) as (client, _, _):
        client.begin()
        asked = [{"name": "first"}, {"name": "time:nothing"}]
        told = client.request("setFunctionBreakpoints", {"breakpoints": asked})["breakpoints"]
        assert told[0]["reason"] == "pending"
        assert not told[1]["verified"]
        client.request("configurationDone")
        stop = client.stopped("function breakpoint")
        assert client.at(stop) == ("first", 6)


def test_messages_arrive_in_order_and_the_exit_waits_for_them(tmp_path):
    source = """\
        def work(n):
            for i in range(n):
                j = i
                k = -i
        work(20_000)
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(
            program, {"line": 3, "logMessage": "a {i}"}, {"line": 4, "logMessage": "b {j}"}
        )
        client.request("configurationDone")
        client.read_to_the_end()
        assert process.wait(30) == 0
        text = "".join(
            event["body"]["output"] for event in client.events if event["event"] == "output"
        )
        expected = [line for i in range(20_000) for line in (f"a {i}", f"b {i}")]
        assert text.splitlines() == expected
        first = next(event["body"] for event in client.events if event["event"] == "output")
        assert first["line"] == 3
        assert first["source"]["path"] == str(program)


def test_messages_end_with_the_session(tmp_path):
    source = """\
        import time
        def work(n):
            return n
        while True:
            work(1)
            time.sleep(0.01)
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, {"line": 5, "logMessage": "ours"})
        client.request("configurationDone")
        seen = ""
        while seen.count("ours") < 3:
            seen += client.event("output")["output"]
        client.request("disconnect")
        client.read_to_the_end()
        assert process.poll() is None


def test_figures_of_breakpoints_and_of_the_engine(tmp_path):
    with listening(tmp_path, PLACES) as (client, program, process):
        client.begin()
        (told,) = client.set_breakpoints(
            program, {"line": 7, "condition": "x > 1", "hitCondition": "% 2"}
        )
        client.request("configurationDone")
        client.stopped("breakpoint")
        (figures,) = client.request("dapper/breakpointStats")["breakpoints"]
        assert figures["id"] == told["id"]
        assert (figures["hits"], figures["fired"], figures["line"]) == (2, 1, 7)
        assert figures["verified"]
        assert figures["tier"] in {"import", "bound"}
        none = client.request("dapper/breakpointStats", {"breakpointIds": [9999]})
        assert none == {"breakpoints": []}
        status = client.request("dapper/engineStatus")
        assert status["backend"] == "eval_frame"
        assert status["breakpoints"] == 1
        assert isinstance(status["reasons"], dict)
        assert process.poll() is None


def test_breakpoints_in_a_process_with_many_modules(tmp_path):
    package = tmp_path / "many"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for number in range(300):
        body = "".join(f"def f{i}():\n    return {i}\n" for i in range(5))
        (package / f"m{number}.py").write_text(body)
    source = """\
        import importlib, sys, time
        sys.path.insert(0, ".")
        modules = [importlib.import_module(f"many.m{i}") for i in range(300)]
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
            modules[7].f3()
        """
    with listening(tmp_path, source) as (client, _, process):
        _running(client, process)
        told = client.set_breakpoints(package / "m7.py", *range(2, 11, 2))
        assert all(point["verified"] for point in told)
        assert client.at(client.stopped("breakpoint")) == ("f3", 8)
