"""The published schema of the Debug Adapter Protocol, as what both sides of a test are held to.

The schema leaves objects open; here an answer or an event says only what the protocol knows, so
that a misspelt name is found. Names of our own begin with `dapper`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

Body = dict[str, Any]
SCHEMA = Path(__file__).resolve().parent.parent / "fixtures" / "dap" / "debugProtocol.json"
OURS = "^dapper"
# What the protocol has gained since that schema, by the definition that has it.
NEWER = {
    "Breakpoint": ("offset",),
    "Capabilities": ("breakpointModes", "supportsANSIStyling", "supportsDataBreakpointBytes"),
    "ExceptionBreakpointsFilter": ("supportsCondition", "conditionDescription"),
    "EvaluateResponse": ("valueLocationReference",),
    "OutputEvent": ("locationReference",),
    "SetExpressionResponse": ("valueLocationReference",),
    "SetVariableResponse": ("memoryReference", "valueLocationReference"),
    "Variable": ("declarationLocationReference", "valueLocationReference"),
}
# What other definitions add to.
BEGINNINGS = ("ProtocolMessage", "Message", "ValueFormat")
# Events that clients of other debuggers for Python know.
KNOWN_ELSEWHERE = {"debugpyAttach", "debugpyWaitingForServer", "debugpySockets"}


class ProtocolError(AssertionError):
    """A message is not one of the protocol."""


def close(name: str, definition: Body) -> None:
    """Let an object have the properties that are named, and no other."""
    if "properties" in definition and "additionalProperties" not in definition:
        for newer in NEWER.get(name, ()):
            definition["properties"].setdefault(newer, {})
        definition["patternProperties"] = {OURS: {}}
        definition["additionalProperties"] = False
    for inner in definition.get("properties", {}).values():
        close(name, inner)
        if "items" in inner:
            close(name, inner["items"])


@cache
def schema() -> Body:
    """Return the schema, with closed objects where we answer."""
    known: Body = json.loads(SCHEMA.read_text())
    for name, definition in known["definitions"].items():
        if name.endswith(("Arguments", "Request")) or name in BEGINNINGS:
            continue
        for part in definition.get("allOf", ()):
            body = part.get("properties", {}).get("body")
            if body is not None:
                close(name, body)
        if "allOf" not in definition:
            close(name, definition)
    return known


@cache
def checker(definition: str) -> Callable[[Body], Body] | None:
    """Return what checks a message against a definition, if the protocol has it."""
    known = schema()
    if definition not in known["definitions"]:
        return None
    wanted = {**known, "$ref": f"#/definitions/{definition}"}
    compiled: Callable[[Body], Body] = fastjsonschema.compile(wanted, use_default=False)
    return compiled


def definition_of(message: Body) -> str:
    """Name the definition that a message has to follow."""
    kind = message.get("type")
    if kind == "event":
        name = str(message.get("event"))
    else:
        name = str(message.get("command"))
        if kind == "response" and not message.get("success"):
            return "ErrorResponse"
    return name[:1].upper() + name[1:] + str(kind).capitalize()


def problem_of(message: Body) -> str | None:
    """Say what is wrong with a message, if anything is."""
    name = message.get("event") if message.get("type") == "event" else message.get("command")
    check = checker(definition_of(message))
    if check is None:
        if str(name).startswith("dapper/") or name in KNOWN_ELSEWHERE:
            check = checker(str(message["type"]).capitalize())
        if check is None:
            return f"the protocol has no {message.get('type')} {name!r}"
    try:
        check(message)
    except fastjsonschema.JsonSchemaException as error:
        return f"{error}, in {json.dumps(message)[:2000]}"
    return None


class Exchange:
    """Both directions of one connection, held to the protocol as they come.

    What the client sends may be wrong, as tests want it to be; it has to be refused then, but by a
    test that is after other things and says so.
    """

    def __init__(self) -> None:
        self.refuses_what_is_wrong = True
        # Whether every request is one that the client has taken note of.
        self.knows_what_is_asked = True
        self._last = 0
        self._asked: dict[int, Body] = {}
        self._wrong: dict[int, str] = {}

    def sent(self, message: Body) -> None:
        """Take note of what the client sends."""
        problem = problem_of(message)
        if message["type"] == "request":
            self._asked[message["seq"]] = message
            if problem is not None:
                self._wrong[message["seq"]] = problem
        elif problem is not None:
            raise ProtocolError(problem)

    def received(self, message: Body) -> None:
        """Hold what has arrived to the protocol."""
        problem = problem_of(message)
        if problem is not None:
            raise ProtocolError(problem)
        if message["seq"] != self._last + 1:
            raise ProtocolError(f"number {message['seq']} comes after {self._last}")
        self._last = message["seq"]
        if message["type"] == "response":
            self._answered(message)

    def _answered(self, message: Body) -> None:
        number = message["request_seq"]
        asked = self._asked.pop(number, None)
        if asked is None:
            if not self.knows_what_is_asked:
                return
            raise ProtocolError(f"nothing is asked that this answers: {message}")
        if asked["command"] != message["command"]:
            raise ProtocolError(f"{asked['command']} is answered as {message['command']}")
        wrong = self._wrong.pop(number, None)
        if wrong is not None and message["success"] and self.refuses_what_is_wrong:
            raise ProtocolError(f"what the protocol does not allow is done: {wrong}")
