"""Clients that vanish, break off or send what is not of the protocol: the program goes on."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.dap_client import Body, Client, RefusedError, listening
from tests.stress import dap_requests

PROGRAM = """\
import os, time

def work(count):
    return count + 1

count = 0
while not os.path.exists("enough"):
    count = work(count)
    time.sleep(0.001)
print("done")
"""
INSIDE = 4


class Debuggee:
    """A program that runs until it is told that it is enough."""

    def __init__(self, folder, client, program, process) -> None:
        self.folder: Path = folder
        self.client: Client = client
        self.program: Path = program
        self.process = process
        self.address = client.peer

    def goes_on(self) -> None:
        """Have it end by itself."""
        (self.folder / "enough").touch()
        assert self.process.wait(30) == 0
        assert self.process.stdout.read() == "done\n"

    def takes_the_next_client(self) -> None:
        """Debug it once more."""
        with closing(self.next_client()) as client:
            client.set_breakpoints(self.program, INSIDE)
            client.request("configurationDone")
            stop = client.stopped("breakpoint")
            assert client.at(stop) == ("work", INSIDE)
            client.request("disconnect", {"terminateDebuggee": False})
            client.read_to_the_end()

    def next_client(self) -> Client:
        """Attach as soon as the end of the session before is known."""
        until = time.monotonic() + 30
        while True:
            client = Client.connect(self.address)
            try:
                client.begin()
            except (EOFError, ConnectionError, RefusedError):
                client.close()
                assert time.monotonic() < until, "the session before does not end"
                time.sleep(0.01)
                continue
            return client


@contextmanager
def debuggee(folder: Path) -> Iterator[Debuggee]:
    with listening(folder, PROGRAM, waits=False) as (client, program, process):
        yield Debuggee(folder, client, program, process)


def connected(_: Debuggee) -> None:
    pass


def initialized(it: Debuggee) -> None:
    it.client.request("initialize", {"adapterID": "dapper"})


def attached(it: Debuggee) -> None:
    it.client.begin()
    it.client.set_breakpoints(it.program, INSIDE)


def running(it: Debuggee) -> None:
    it.client.begin()
    it.client.request("configurationDone")


def stopped(it: Debuggee) -> int:
    attached(it)
    it.client.request("configurationDone")
    thread: int = it.client.stopped("breakpoint")["threadId"]
    return thread


def looking(it: Debuggee) -> None:
    thread = stopped(it)
    for _ in range(50):
        it.client.send("stackTrace", {"threadId": thread})


def evaluating(it: Debuggee) -> None:
    thread = stopped(it)
    frame = it.client.frames(thread)[0]["id"]
    it.client.send("evaluate", {"expression": "__import__('time').sleep(1)", "frameId": frame})


def stepping(it: Debuggee) -> None:
    thread = stopped(it)
    for command in ("stepIn", "next", "stepOut"):
        it.client.send(command, {"threadId": thread})


def pausing(it: Debuggee) -> None:
    running(it)
    thread = it.client.request("threads")["threads"][0]["id"]
    it.client.send("pause", {"threadId": thread})


def header_begun(it: Debuggee) -> None:
    running(it)
    it.client.send_raw(b"Content-Length: 1")


def message_begun(it: Debuggee) -> None:
    stopped(it)
    it.client.send_raw(b'Content-Length: 1000\r\n\r\n{"seq": 1, "type": "requ')


STATES: tuple[Callable[[Debuggee], object], ...] = (
    connected,
    initialized,
    attached,
    running,
    stopped,
    looking,
    evaluating,
    stepping,
    pausing,
    header_begun,
    message_begun,
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("way", ["closes", "resets"])
def test_the_client_vanishes(tmp_path, state, way):
    with debuggee(tmp_path) as it:
        state(it)
        if way == "resets":
            it.client.reset()
        it.client.close()
        it.takes_the_next_client()
        it.goes_on()


@pytest.mark.parametrize("state", STATES[:-2], ids=lambda state: state.__name__)
def test_disconnect(tmp_path, state):
    with debuggee(tmp_path) as it:
        state(it)
        it.client.send("disconnect", {"terminateDebuggee": False})
        it.client.read_to_the_end()
        it.takes_the_next_client()
        it.goes_on()


@pytest.mark.parametrize("state", [running, stopped, stepping], ids=lambda state: state.__name__)
def test_the_program_is_killed(tmp_path, state):
    with debuggee(tmp_path) as it:
        state(it)
        it.process.kill()
        it.client.read_to_the_end()
        assert it.process.wait(30) == -9


NOT_THE_PROTOCOL = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "post": b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nContent-Length: 2\r\n\r\n{}",
    "json": b'{"seq": 1, "type": "request", "command": "initialize"}\n',
    "zeros": bytes(64),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two gigabytes": b"Content-Length: 2147483648\r\n\r\n{",
    "beyond any number": b"Content-Length: 99999999999999999999999999\r\n\r\n{",
    "no number": b"Content-Length: many\r\n\r\n{}",
    "below zero": b"Content-Length: -1\r\n\r\n{}",
    "no length": b"Content-Type: utf-8\r\n\r\n{}",
    "endless header": b"Content-Length: 2\r\n" + b"Content-Type: x\r\n" * 1000,
}


@pytest.mark.parametrize("name", NOT_THE_PROTOCOL)
@pytest.mark.parametrize("state", [connected, stopped], ids=lambda state: state.__name__)
def test_what_is_not_the_protocol_ends_the_session(tmp_path, name, state):
    with debuggee(tmp_path) as it:
        state(it)
        it.client.send_raw(NOT_THE_PROTOCOL[name])
        it.client.read_to_the_end()
        it.takes_the_next_client()
        it.goes_on()


NOT_A_MESSAGE = {
    "nothing": b"",
    "no json": b"what?",
    "half": b'{"seq": 1',
    "array": b"[]",
    "number": b"1e999",
    "null": b"null",
    "no type": b'{"seq": 1}',
    "unknown type": b'{"seq": 1, "type": "wish"}',
    "no command": b'{"seq": 1, "type": "request"}',
    "number as command": b'{"seq": 1, "type": "request", "command": 1}',
    "text as number": b'{"seq": "x", "type": "request", "command": "threads"}',
    "huge number": b'{"seq": 1e300, "type": "request", "command": "threads"}',
    "no unicode": b'{"seq": 1, "type": "request", "command": "\xff\xfe"}',
    "half a pair": b'{"seq": 1, "type": "request", "command": "\\ud800"}',
    "deep": b"[" * 100_000,
    "an answer to nothing": b'{"seq": 1, "type": "response", "request_seq": 9, "success": true,'
    b' "command": "runInTerminal"}',
    "an event": b'{"seq": 1, "type": "event", "event": "stopped"}',
}


@pytest.mark.parametrize("state", [running, stopped], ids=lambda state: state.__name__)
def test_what_is_no_message_is_passed_over(tmp_path, state):
    with debuggee(tmp_path) as it:
        state(it)
        for name, body in NOT_A_MESSAGE.items():
            it.client.send_raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            assert it.client.request("threads")["threads"], name
        it.client.request("disconnect", {"terminateDebuggee": False})
        it.goes_on()


def answered(client: Client, command: str, arguments: Body | None = None) -> bool:
    """Whether something is done; refused is as good, as long as there is an answer."""
    try:
        client.request(command, arguments)
    except RefusedError:
        return False
    return True


def test_requests_out_of_order_are_answered(tmp_path):
    with debuggee(tmp_path) as it:
        client = it.client
        source = {"source": {"path": str(it.program)}, "breakpoints": [{"line": INSIDE}]}
        for command, arguments in (
            ("configurationDone", None),
            ("threads", None),
            ("setBreakpoints", source),
            ("stackTrace", {"threadId": 1}),
            ("attach", {}),
            ("initialize", {"adapterID": "dapper"}),
            ("initialize", {"adapterID": "dapper"}),
            ("variables", {"variablesReference": 1}),
            ("scopes", {"frameId": 1}),
            ("continue", {"threadId": 1}),
            ("attach", {}),
            ("configurationDone", None),
            ("configurationDone", None),
            ("next", {"threadId": 1 << 50}),
            ("evaluate", {"expression": "1", "frameId": -1}),
            ("threads", None),
        ):
            answered(client, command, arguments)
        client.send("disconnect", {"terminateDebuggee": False})
        client.read_to_the_end()
        it.takes_the_next_client()
        it.goes_on()


def refusal(client: Client, seq: int) -> str:
    """Why a request is refused; nothing when it is done."""
    try:
        client.response(seq)
    except RefusedError as error:
        return str(error)
    return ""


COMMANDS = [
    "attach",
    "breakpointLocations",
    "cancel",
    "completions",
    "configurationDone",
    "continue",
    "dataBreakpointInfo",
    "disassemble",
    "evaluate",
    "exceptionInfo",
    "goto",
    "gotoTargets",
    "loadedSources",
    "locations",
    "modules",
    "next",
    "pause",
    "readMemory",
    "restartFrame",
    "reverseContinue",
    "scopes",
    "setBreakpoints",
    "setDataBreakpoints",
    "setExceptionBreakpoints",
    "setExpression",
    "setFunctionBreakpoints",
    "setInstructionBreakpoints",
    "setVariable",
    "source",
    "stackTrace",
    "stepBack",
    "stepIn",
    "stepInTargets",
    "stepOut",
    "threads",
    "variables",
    "writeMemory",
    "dapper/breakpointStats",
    "dapper/engineStatus",
    "dapper/explainFrame",
    "nothing",
    "__proto__",
]
HUGE = 1 << 62
ODD: tuple[object, ...] = (
    None,
    [],
    "text",
    -1,
    {},
    {"threadId": HUGE, "frameId": HUGE, "variablesReference": HUGE, "targetId": HUGE},
    {"threadId": -1, "frameId": -1, "variablesReference": -1, "start": -1, "count": -1},
    {"threadId": 1, "levels": -1, "startFrame": HUGE, "singleThread": "yes"},
    {"source": {"path": "\x00"}, "breakpoints": [{"line": 0}], "line": 0, "column": 0},
    {"source": {}, "breakpoints": [{"line": HUGE}], "filters": [None], "line": -3},
    {"source": {"sourceReference": HUGE}, "breakpoints": None, "filters": ["x" * 10_000]},
    {"name": "", "value": "", "expression": "", "text": "", "variablesReference": 1},
    {"breakpoints": [{"name": ""}, {"instructionReference": "0x"}, {"dataId": "?"}]},
    {"memoryReference": "zz", "instructionCount": HUGE, "offset": -HUGE},
    {"expression": "(" * 10_000, "frameId": 0, "text": "\ud83d\ude00", "column": HUGE},
)


@pytest.mark.parametrize("state", [initialized, running], ids=lambda state: state.__name__)
def test_odd_arguments_are_answered(tmp_path, state):
    with debuggee(tmp_path) as it:
        state(it)
        client = it.client
        client.exchange.refuses_what_is_wrong = False
        for command in COMMANDS:
            for arguments in ODD:
                message = {"arguments": arguments} if arguments is not None else {}
                seq = client.send_message({"type": "request", "command": command, **message})
                assert "error of dapper's own" not in refusal(client, seq), (command, arguments)
        client.send("disconnect", {"terminateDebuggee": False})
        client.read_to_the_end()
        it.takes_the_next_client()
        it.goes_on()


def test_a_flood_of_requests_is_answered_in_order(tmp_path):
    wanted = 10_000
    with debuggee(tmp_path) as it:
        thread = stopped(it)
        client = it.client
        commands = (
            ("threads", None),
            ("stackTrace", {"threadId": thread, "levels": 1}),
            ("levitate", None),
            ("stackTrace", {"threadId": 1 << 40}),
        )
        sent: list[int] = []

        def flood() -> None:
            sent.extend(client.send(*commands[number % 4]) for number in range(wanted))

        flooding = threading.Thread(target=flood)
        flooding.start()
        while len(client.responses) < wanted:
            client.read_one()
        flooding.join()
        for number, seq in enumerate(sent):
            assert client.responses[seq]["success"] == (number % 4 < 2)
        client.request("disconnect", {"terminateDebuggee": False})
        it.goes_on()


def test_a_client_that_reads_nothing_and_vanishes(tmp_path):
    with debuggee(tmp_path) as it:
        stopped(it)
        it.client.set_patience(2)

        def ask_for_ever() -> None:
            while True:
                it.client.send("threads")

        with pytest.raises((TimeoutError, ConnectionError)):
            ask_for_ever()
        it.client.reset()
        it.client.close()
        it.takes_the_next_client()
        it.goes_on()


def test_a_second_client_is_refused_and_the_first_is_not_disturbed(tmp_path):
    with debuggee(tmp_path) as it:
        thread = stopped(it)
        for opening in (b"", b"GET / HTTP/1.1\r\n\r\n", b"Content-Length: 5\r\n\r\n"):
            other = Client.connect(it.address)
            other.send_raw(opening)
            other.reset()
            other.close()
        other = Client.connect(it.address)
        with pytest.raises((RefusedError, EOFError, ConnectionError)):
            other.request("initialize", {"adapterID": "dapper"})
        other.close()
        assert it.client.at({"threadId": thread}) == ("work", INSIDE)
        it.client.request("disconnect", {"terminateDebuggee": False})
        it.goes_on()


def test_messages_in_pieces_and_in_one(tmp_path):
    with debuggee(tmp_path) as it:
        running(it)
        client = it.client
        numbers = list(range(1000, 1020))
        data = b""
        for number in numbers:
            message = {"seq": number, "type": "request", "command": "threads"}
            client.exchange.sent(message)
            body = json.dumps(message).encode()
            data += b"Content-Length: %d\r\nContent-Type: utf-8\r\n\r\n%s" % (len(body), body)
        half = len(data) // 2
        for byte in struct.unpack(f"{half}c", data[:half]):
            client.send_raw(byte)
        client.send_raw(data[half:])
        for number in numbers:
            assert client.response(number)["threads"]
        client.request("disconnect", {"terminateDebuggee": False})
        it.goes_on()


@pytest.mark.parametrize("seed", range(3))
def test_requests_at_random_are_answered(tmp_path, seed):
    dap_requests.run(tmp_path, seed, 500)
