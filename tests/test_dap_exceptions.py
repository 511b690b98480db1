"""Which exceptions stop a session."""

from __future__ import annotations

import sys

import pytest
from tests.dap_client import listening

RAISES = """\
class Gone(LookupError):
    pass

def fail(kind, code):
    error = kind(code)
    raise error

for kind, code in ((ValueError, 1), (Gone, 2), (KeyError, 3), (Gone, 4)):
    try:
        fail(kind, code)
    except Exception as error:
        caught = error
print("done")
"""


@pytest.mark.parametrize(
    ("condition", "codes"),
    [
        ("", ["1", "2", "3", "4"]),
        ("code > 2", ["3", "4"]),
        ("e.args[0] % 2", ["1", "3"]),
        ("Gone", ["2", "4"]),
        ("__main__.Gone, ValueError", ["1", "2", "4"]),
        ("(ValueError, KeyError)", ["1", "3"]),
        ("LookupError", ["2", "3", "4"]),
        ("isinstance(exc, Gone) and code == 4", ["4"]),
    ],
)
def test_conditions_choose_what_is_raised(tmp_path, condition, codes):
    with listening(tmp_path, RAISES) as (client, _, process):
        client.begin()
        options = [{"filterId": "raised", "condition": condition}]
        arguments = {"filters": [], "filterOptions": options}
        (told,) = client.request("setExceptionBreakpoints", arguments)["breakpoints"]
        assert told["verified"]
        client.request("configurationDone")
        for code in codes:
            stop = client.stopped("exception")
            assert stop["text"].strip("'") == code
            assert client.at(stop) == ("fail", 6)
            client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_paths_of_names_and_what_never_stops(tmp_path):
    category = {"names": ["Python Exceptions"]}
    options = [
        {"path": [category, {"names": ["LookupError"]}], "breakMode": "always"},
        {"path": [category, {"names": ["KeyError"]}], "breakMode": "never"},
    ]
    with listening(tmp_path, RAISES) as (client, _, process):
        client.begin()
        arguments = {"filters": [], "exceptionOptions": options}
        told = client.request("setExceptionBreakpoints", arguments)["breakpoints"]
        assert [one["verified"] for one in told] == [True, True]
        client.request("configurationDone")
        for code in ("2", "4"):
            stop = client.stopped("exception")
            assert stop["text"] == code
            client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_a_condition_that_raises_is_told_and_does_not_stop(tmp_path):
    with listening(tmp_path, RAISES) as (client, _, process):
        client.begin()
        options = [
            {"filterId": "raised", "condition": "1 / 0"},
            {"filterId": "raised", "condition": "code =="},
            {"filterId": "sideways"},
        ]
        told = client.request("setExceptionBreakpoints", {"filters": [], "filterOptions": options})[
            "breakpoints"
        ]
        assert [one["verified"] for one in told] == [True, False, False]
        assert "code ==" in told[1]["message"]
        assert "sideways" in told[2]["message"]
        client.request("configurationDone")
        assert "ZeroDivisionError" in client.event("output")["output"]
        assert process.wait(30) == 0


def test_uncaught_shows_the_frames_that_were_left(tmp_path):
    source = """\
        def inner(n):
            return 1 / n
        def outer():
            inner(0)
        outer()
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.request("configurationDone")
        stop = client.stopped("exception")
        assert stop["text"] == "division by zero"
        frames = client.frames(stop["threadId"])
        shown = [(frame["name"], frame["line"]) for frame in frames]
        assert shown[:3] == [("inner", 2), ("outer", 4), ("<module>", 5)]
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 1


def test_user_unhandled_stops_where_an_exception_goes_into_a_library(tmp_path):
    source = """\
        import json
        class Odd:
            pass
        def default(value):
            raise TypeError("odd")
        try:
            json.dumps(Odd(), default=default)
        except TypeError:
            print("caught")
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["userUnhandled"]})
        client.request("configurationDone")
        stop = client.stopped("exception")
        assert client.at(stop) == ("default", 5)
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("status", "settings", "stops"),
    [
        (0, {}, False),
        (0, {"breakOnSystemExitZero": True}, True),
        (3, {"breakOnSystemExit": [1, {"from": 3, "to": 5}]}, True),
        (2, {"breakOnSystemExit": [1, {"from": 3, "to": 5}]}, False),
        (3, {}, hasattr(sys, "monitoring")),
    ],
)
def test_exits_stop_where_their_status_was_asked_for(tmp_path, status, settings, stops):
    source = f"""\
        import sys
        sys.exit({status})
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin(**settings)
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.request("configurationDone")
        if stops:
            stop = client.stopped("exception")
            assert stop["description"] == "SystemExit"
            assert client.at(stop) == ("<module>", 2)
            client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == status
