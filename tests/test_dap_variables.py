"""What a stop shows of values: scopes, variables in pages, groups, and hostile objects."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.dap_client import Body, Client, RefusedError, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stop:
    """A program that has stopped at the line that says so."""

    def __init__(self, client: Client, stop: Body) -> None:
        self.client = client
        self.thread = stop["threadId"]
        self.frame = client.frames(self.thread, levels=1)[0]["id"]

    def scopes(self) -> dict[str, Body]:
        scopes = self.client.request("scopes", {"frameId": self.frame})["scopes"]
        return {scope["name"]: scope for scope in scopes}

    def children(self, reference: int, **more: object) -> list[Body]:
        arguments = {"variablesReference": reference, **more}
        rows: list[Body] = self.client.request("variables", arguments)["variables"]
        return rows

    def named(self, reference: int, **more: object) -> dict[str, Body]:
        return {row["name"]: row for row in self.children(reference, **more)}

    def locals(self, **more: object) -> dict[str, Body]:
        return self.named(self.scopes()["Locals"]["variablesReference"], **more)

    def evaluate(self, expression: str, context: str = "watch", **more: object) -> Body:
        arguments = {
            "expression": expression,
            "frameId": self.frame,
            "context": context,
            **more,
        }
        return self.client.request("evaluate", arguments)


@contextmanager
def stopped(folder: Path, source: str, **settings: object) -> Iterator[Stop]:
    """Run a program up to its line `# stop`."""
    with listening(folder, source) as (client, program, _):
        client.begin(**settings)
        lines = program.read_text().splitlines()
        line = next(at for at, text in enumerate(lines, 1) if text.endswith("# stop"))
        client.set_breakpoints(program, line)
        client.request("configurationDone")
        yield Stop(client, client.stopped())


SCOPES = """\
    import os
    LIMIT = 3
    def outer(shared):
        def inner(first, *rest, key=1):
            count = shared + first
            items = [i for i in range(3)]
            return count  # stop
        return inner(2, 3, 4)
    outer(40)
    """


def test_a_function_has_locals_closure_and_globals(tmp_path):
    with stopped(tmp_path, SCOPES) as stop:
        scopes = stop.scopes()
        assert list(scopes) == ["Locals", "Closure", "Globals"]
        assert scopes["Locals"]["presentationHint"] == "locals"
        assert not scopes["Globals"]["expensive"]
        rows = stop.locals()
        assert {name: row["value"] for name, row in rows.items()} == {
            "first": "2",
            "rest": "(3, 4)",
            "key": "1",
            "count": "42",
            "items": "[0, 1, 2]",
        }
        assert rows["first"]["type"] == "int"
        assert rows["first"]["evaluateName"] == "first"
        assert rows["first"]["variablesReference"] == 0
        closure = stop.named(scopes["Closure"]["variablesReference"])
        assert [(row["name"], row["value"]) for row in closure.values()] == [("shared", "40")]
        names = stop.named(scopes["Globals"]["variablesReference"])
        assert {"special variables", "function variables", "os", "LIMIT"} <= set(names)
        special = stop.named(names["special variables"]["variablesReference"])
        assert special["__name__"]["value"] == "'__main__'"
        functions = stop.named(names["function variables"]["variablesReference"])
        assert functions["outer"]["value"].startswith("<function outer at 0x")


def test_a_class_body_has_its_namespace(tmp_path):
    source = """\
        class Shape:
            sides = 3
            name = "triangle"  # stop
        """
    with stopped(tmp_path, source) as stop:
        assert stop.locals()["sides"]["value"] == "3"
        assert "name" not in stop.locals()


def test_a_long_list_is_read_in_pages(tmp_path):
    source = """\
        long = list(range(1_000_000))
        table = {key: -key for key in range(500)}
        few = {"a": 1, ("b", 2): 2}
        here = 1  # stop
        """
    with stopped(tmp_path, source) as stop:
        rows = stop.locals()
        long = rows["long"]
        assert long["indexedVariables"] == 1_000_000
        assert long["value"].startswith("[0, 1, 2")
        assert len(long["value"]) < 1000
        reference = long["variablesReference"]
        page = stop.children(reference, filter="indexed", start=999_900, count=100)
        assert [row["value"] for row in page] == [str(at) for at in range(999_900, 1_000_000)]
        assert page[0]["evaluateName"] == "long[999900]"
        quickest = min(_seconds(stop, reference) for _ in range(20))
        assert quickest < 0.01
        named = stop.children(reference, filter="named")
        assert len(named) == long["namedVariables"]
        assert {row["name"]: row["value"] for row in named}["len()"] == "1000000"
        unpaged = stop.children(reference)
        assert len(unpaged) < 1100
        assert unpaged[-1]["value"].startswith("999000 more")
        table = rows["table"]
        assert table["indexedVariables"] == 500
        page = stop.children(table["variablesReference"], filter="indexed", start=498, count=9)
        assert [(row["name"], row["value"]) for row in page] == [("498", "-498"), ("499", "-499")]
        few = stop.named(rows["few"]["variablesReference"])
        assert few["'a'"]["evaluateName"] == "few['a']"
        assert few["('b', 2)"]["value"] == "2"
        assert few["len()"]["value"] == "2"


def _seconds(stop: Stop, reference: int) -> float:
    began = time.perf_counter()
    stop.children(reference, filter="indexed", start=500_000, count=100)
    return time.perf_counter() - began


KINDS = """\
    import array, collections, dataclasses, decimal, enum, types
    class Color(enum.Enum):
        RED = 1
    Point = collections.namedtuple("Point", "x y")
    @dataclasses.dataclass
    class Pair:
        left: int
        right: str = "r"
    class Slotted:
        __slots__ = ("filled", "empty")
        def __init__(self):
            self.filled = 1
    class Own(collections.UserList):
        pass
    def show():
        deque = collections.deque([1, 2], maxlen=5)
        counts = collections.defaultdict(int, {"a": 1})
        ordered = collections.OrderedDict(b=2)
        names = {"one"}
        frozen = frozenset()
        data = bytearray(b"ab")
        numbers = array.array("i", [7, 8])
        steps = range(0, 10, 3)
        color = Color.RED
        point = Point(3, 4)
        pair = Pair(1)
        slotted = Slotted()
        own = Own([5, 6])
        cycle = [1]
        cycle.append(cycle)
        proxy = types.MappingProxyType({"k": "v"})
        error = ValueError("bad", 3)
        error.add_note("a note")
        text = "x" * 100_000
        huge = 10 ** 10_000
        view = memoryview(b"xyz")
        return 1  # stop
    show()
    """


def test_values_of_all_kinds(tmp_path):
    with stopped(tmp_path, KINDS) as stop:
        rows = stop.locals()
        values = {name: row["value"] for name, row in rows.items()}
        assert values["deque"] == "deque([1, 2], maxlen=5)"
        assert values["counts"] == "defaultdict(<class 'int'>, {'a': 1})"
        assert values["ordered"] == "OrderedDict({'b': 2})"
        assert values["names"] == "{'one'}"
        assert values["frozen"] == "frozenset()"
        assert values["steps"] == "range(0, 10, 3)"
        assert values["color"] == "<Color.RED: 1>"
        assert values["point"] == "Point(x=3, y=4)"
        assert values["pair"] == "Pair(left=1, right='r')"
        assert values["slotted"].startswith("<__main__.Slotted object at 0x")
        assert values["cycle"] == "[1, [...]]"
        assert values["error"] == "ValueError('bad', 3)"
        assert len(values["text"]) < 70_000
        assert values["huge"].startswith("0x")

        def within(name: str) -> dict[str, str]:
            children = stop.named(rows[name]["variablesReference"])
            return {name: row["value"] for name, row in children.items()}

        assert within("deque")["1"] == "2"
        assert within("names")["0"] == "'one'"
        assert within("data")["1"] == "98"
        assert within("numbers")["0"] == "7"
        assert within("steps")["3"] == "9"
        assert within("own")["1"] == "6"
        assert within("point") | {"0": "3", "x": "3"} == within("point")
        assert within("pair") | {"left": "1", "right": "'r'"} == within("pair")
        assert within("slotted")["filled"] == "1"
        assert "empty" not in within("slotted")
        assert within("proxy")["'k'"] == "'v'"
        assert within("error")["args"] == "('bad', 3)"
        inner = stop.named(rows["error"]["variablesReference"])["special variables"]
        special = stop.named(inner["variablesReference"])
        assert special["__notes__"]["value"] == "['a note']"


HOSTILE = """\
    import collections, sys, time
    class Loops:
        def __repr__(self):
            while True:
                try:
                    while True: pass
                except Exception:
                    pass
    class Raises:
        def __repr__(self):
            raise RuntimeError("no")
    class Sleeps:
        def __repr__(self):
            while True:
                time.sleep(0.01)
    class Exits:
        def __repr__(self):
            sys.exit(3)
    class Recurses:
        def __repr__(self):
            return repr(self)
    class Number:
        def __repr__(self):
            return 3
    class Torn(collections.UserList):
        def __len__(self):
            return 5
        def __getitem__(self, at):
            return [7, 8][at]
    class Giant:
        def __repr__(self):
            return "g" * (1 << 28)
    class Twisted:
        def __getattribute__(self, name):
            raise AttributeError(name)
        def __class__(self):
            raise RuntimeError
    class Lazy:
        count = 0
        @property
        def answer(self):
            Lazy.count += 1
            return 42
        @property
        def broken(self):
            raise KeyError("gone")
    def show():
        raises = Raises(); exits = Exits(); recurses = Recurses()
        number = Number(); giant = Giant(); twisted = Twisted()
        lazy = Lazy()
        torn = Torn()
        return 1  # stop
    show()
    """


def test_hostile_objects_are_shown_all_the_same(tmp_path):
    with stopped(tmp_path, HOSTILE) as stop:
        rows = stop.locals()
        assert "RuntimeError: no" in rows["raises"]["value"]
        assert "SystemExit: 3" in rows["exits"]["value"]
        assert "RecursionError" in rows["recurses"]["value"]
        assert "TypeError" in rows["number"]["value"]
        assert len(rows["giant"]["value"]) < 70_000
        torn = stop.children(rows["torn"]["variablesReference"], filter="indexed", count=5)
        assert [row["value"] for row in torn[:2]] == ["7", "8"]
        assert "IndexError" in torn[2]["value"]
        stop.children(rows["twisted"]["variablesReference"])
        lazy = stop.named(rows["lazy"]["variablesReference"])
        assert lazy["answer"]["presentationHint"]["lazy"]
        assert lazy["count"]["value"] == "0"
        answer = stop.children(lazy["answer"]["variablesReference"])
        assert [row["value"] for row in answer] == ["42"]
        broken = stop.children(lazy["broken"]["variablesReference"])
        assert broken[0]["value"] == "KeyError: 'gone'"
        assert stop.evaluate("lazy.count")["result"] == "1"


def test_a_repr_without_end_costs_a_moment(tmp_path):
    with stopped(tmp_path, HOSTILE) as stop:
        began = time.monotonic()
        for name in ("Loops", "Sleeps"):
            shown = stop.evaluate(f"{name}()")["result"]
            assert "took longer" in shown, shown
        shown = stop.evaluate("[Loops() for _ in range(50)]")["result"]
        assert shown.count("Loops object") > 1
        assert time.monotonic() - began < 30
        assert stop.evaluate("1 + 1")["result"] == "2"


def test_presentation_is_the_users_choice(tmp_path):
    source = """\
        class Thing:
            def __init__(self):
                self._hidden = 1
                self.plain = 2
            def method(self):
                pass
        thing = Thing()
        here = 1  # stop
        """
    choice = {"special": "hide", "function": "inline", "protected": "group", "class": "inline"}
    with stopped(tmp_path, source, variablePresentation=choice) as stop:
        rows = stop.locals()
        assert "special variables" not in rows
        assert rows["Thing"]["presentationHint"]["kind"] == "class"
        thing = stop.named(rows["thing"]["variablesReference"])
        assert set(thing) == {"protected variables", "plain", "method"}
        assert thing["method"]["presentationHint"]["kind"] == "method"
        protected = stop.named(thing["protected variables"]["variablesReference"])
        assert protected["_hidden"]["evaluateName"] == "thing._hidden"


def test_values_in_hexadecimal_digits(tmp_path):
    with stopped(tmp_path, SCOPES) as stop:
        rows = stop.locals(format={"hex": True})
        assert rows["count"]["value"] == "0x2a"
        assert rows["rest"]["value"] == "(0x3, 0x4)"
        assert stop.evaluate("-count", format={"hex": True})["result"] == "-0x2a"


def test_set_variable_wherever_it_was_shown(tmp_path):
    source = """\
        total = 1
        class Thing:
            size = 1
        def outer():
            shared = 1
            def inner():
                local = 1
                items = [1, 2]
                table = {"a": 1, 2: "two"}
                thing = Thing()
                pair = (1, 2)
                here = 1  # stop
                print(local, shared, total, items, table, thing.size)
            inner()
        outer()
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 12)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        rows = stop.locals()
        scopes = stop.scopes()

        def put(reference: int, name: str, value: str) -> str:
            arguments = {"variablesReference": reference, "name": name, "value": value}
            answer: str = client.request("setVariable", arguments)["value"]
            return answer

        assert put(scopes["Locals"]["variablesReference"], "local", "'ten' * 2") == "'tenten'"
        assert put(scopes["Closure"]["variablesReference"], "shared", "local") == "'tenten'"
        assert put(scopes["Globals"]["variablesReference"], "total", "[total]") == "[1]"
        assert put(rows["items"]["variablesReference"], "1", "22") == "22"
        assert put(rows["table"]["variablesReference"], "'a'", "11") == "11"
        assert put(rows["table"]["variablesReference"], "2", "12") == "12"
        assert put(rows["thing"]["variablesReference"], "size", "9") == "9"
        with pytest.raises(RefusedError, match="cannot be set"):
            put(rows["pair"]["variablesReference"], "0", "5")
        with pytest.raises(RefusedError, match="ZeroDivisionError"):
            put(scopes["Locals"]["variablesReference"], "local", "1 / 0")
        assert stop.locals()["local"]["value"] == "'tenten'"
        client.request("continue", {"threadId": stop.thread})
        output, _ = process.communicate(timeout=30)
        assert output == "tenten tenten [1] [1, 22] {'a': 11, 2: 12} 9\n"


def test_nothing_shown_lives_longer_than_its_stop(tmp_path):
    source = """\
        import gc, weakref
        class Kept: pass
        def show():
            kept = Kept()
            kept.inner = Kept()
            seen = weakref.ref(kept), weakref.ref(kept.inner)
            here = 1  # stop
            del kept
            gone = [one() is None for one in seen]
            print(gone)
            return gone
        show()
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 7)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        row = stop.locals()["kept"]
        assert "inner" in stop.named(row["variablesReference"])
        for context in ("repl", "watch", "hover", "clipboard"):
            stop.evaluate("kept.inner", context)
        stop.evaluate("mine = kept", "repl")
        stop.evaluate("kept.inner = kept.inner", "repl")
        arguments = {"expression": "kept", "value": "kept", "frameId": stop.frame}
        client.request("setExpression", arguments)
        with pytest.raises(RefusedError, match="ZeroDivisionError"):
            stop.evaluate("[kept, 1 / 0]", "repl")
        client.request("continue", {"threadId": stop.thread})
        assert process.communicate(timeout=30)[0] == "[True, True]\n"


def test_the_exception_has_a_scope(tmp_path):
    source = """\
        def fail():
            raise ValueError("bad")
        def give():
            return "given"
        give()
        fail()
        """
    with listening(tmp_path, source) as (client, program, _):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.set_breakpoints(program, 4)
        client.request("configurationDone")
        first: dict[str, Any] = client.stopped("breakpoint")
        client.request("stepOut", {"threadId": first["threadId"]})
        client.stopped("step")
        client.request("continue", {"threadId": first["threadId"]})
        stop = Stop(client, client.stopped("exception"))
        scope = stop.scopes()["Exception"]
        rows = stop.named(scope["variablesReference"])
        assert rows["ValueError"]["value"] == "ValueError('bad')"
        assert stop.evaluate("__exception__[1].args")["result"] == "('bad',)"


def test_every_thread_shows_what_is_its_own(tmp_path):
    source = """\
        import threading, contextvars
        own = threading.local()
        var = contextvars.ContextVar("var")
        both = threading.Barrier(2)
        def work(name):
            own.name = name
            var.set(name)
            both.wait()
            return name  # stop
        threads = [threading.Thread(target=work, args=(name,), name=name) for name in "ab"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    with listening(tmp_path, source) as (client, program, _):
        client.begin(stopAllThreads=False)
        client.set_breakpoints(program, 9)
        client.request("configurationDone")
        stops = [Stop(client, client.stopped()) for _ in range(2)]
        seen = set()
        for stop in stops:
            name = stop.locals()["name"]["value"]
            asked = "own.name, var.get(), threading.current_thread().name"
            assert stop.evaluate(asked)["result"] == f"({name}, {name}, {name})"
            assert stop.evaluate(f"name = {name}.upper()", "repl")["result"] == ""
            seen.add(stop.evaluate("name")["result"])
        assert seen == {"'A'", "'B'"}


def test_generators_and_frames_that_were_left(tmp_path):
    source = """\
        def count(limit):
            for n in range(limit):
                yield n  # stop
        def fail(reason):
            near = [reason]
            raise ValueError(reason)
        print(next(count(3)))
        fail("because")
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.set_breakpoints(program, 3)
        client.request("configurationDone")
        stop = Stop(client, client.stopped("breakpoint"))
        assert stop.locals()["limit"]["value"] == "3"
        stop.evaluate("n = 'changed'", "repl")
        client.request("continue", {"threadId": stop.thread})
        stop = Stop(client, client.stopped("exception"))
        assert stop.locals()["near"]["value"] == "['because']"
        assert stop.evaluate("[near for _ in range(2)]")["result"] == "[['because'], ['because']]"
        client.request("continue", {"threadId": stop.thread})
        assert process.communicate(timeout=30)[0] == "changed\n"
