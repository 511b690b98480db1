"""Random expressions, and programs of every kind of scope for them to stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["HOSTS", "expression", "field"]

HOSTS = {
    "function": """
G = 5; x = 1; T = int; d = {"a": [1, 2], 1: "b"}
def f(a, b=2, *args, k=3, **kw):
    s = "text"
    lst = [1, 2, 3]
    for i in range(3):
        if i == 1:
            maybe = i
        HERE = 1
        if i == 1:
            del lst
            lst = [i]
    return s
f(1); f(2, 3, 4, z=5)
""",
    "unbound": """
G = 5; x = 1; maybe = "global maybe"; d = {}
def f(a, k=1):
    s = a
    if a > 1:
        maybe = 3
    for i in range(a):
        HERE = 1
        s = i
        del s
        s = "again"
    i = 7
    del i
    HERE = 2
    return 1
for q in range(4): f(q)
""",
    "closure": """
G = 5; x = 1; d = {"a": 1}
def outer(a, i):
    s = "cell"; maybe = None
    def inner(b, lst=(1, 2)):
        nonlocal s
        k = b
        HERE = 1
        s = s + "x"
        if b == 2:
            del s
            HERE = 2
            s = "y"
        return (a, i)
    inner(1); inner(2)
    HERE = 3
    return lambda: (s, maybe, lst)
outer(4, 1.5)
""",
    "class": """
G = 5; x = 1; s = "global s"; a = 9
class C:
    __p = 3
    i = 4
    HERE = 1
    a = x
    HERE = 2
    del i
    HERE = 3
    def m(self, b):
        s = self
        HERE = 4
        return super().__init__
c = C()
c.m(1)
""",
    "generator": """
G = 5; x = 1; d = {}
def g(a):
    s = 0
    for i in range(3):
        HERE = 1
        b = yield i
        k = i
        try:
            raise KeyError(i)
        except KeyError as e:
            HERE = 2
        finally:
            HERE = 3
    HERE = 4
async def c(a, b):
    k = [1]
    HERE = 5
    return a
list(g(1))
try: c(1, 2).send(None)
except StopIteration: pass
""",
    "module": """
G = 5; x = 1; s = "ab"; lst = [1, 2]; d = {"a": 1}
for i in range(2):
    HERE = 1
    k = i
del k
HERE = 2
""",
    # Arguments that need EXTENDED_ARG.
    "many": "G = 5; x = 1\ndef f(a):\n"
    + "".join(f"    v{n} = {n}\n" for n in range(300))
    + "    s = v299\n    for i in range(2):\n        HERE = 1\n    return 1\nf(1)\n",
}

NAMES = (
    *["a", "b", "i", "k", "s", "lst", "G", "x", "d", "maybe", "undefined", "len", "T", "__p"],
    *["e", "kw", "args", "self"],
)
CONSTANTS = (
    *["0", "1", "2.5", "'a'", "None", "True", "()", "(1, 2)", "1000", "-3", "b'q'", "...", "'ab'"],
    *["{1, 2}", "[1]", "__debug__"],
)
FORMS = (
    *["({0} == {1})", "({0} != {1})", "({0} < {1})", "({0} >= {1})", "({0} is {1})"],
    *["({0} is not {1})", "({0} in {1})", "({0} not in {1})", "({0} < {1} <= {2})"],
    *["({0} and {1})", "({0} or {1})", "(not {0})", "({0} if {1} else {2})"],
    *["({0} + {1})", "({0} * {1})", "({0} % {1})", "({0} | {1})", "(-{0})", "('%s' % ({0},))"],
    *["len({0})", "str({0})", "repr({0})", "bool({0})", "type({0})", "sorted({0})", "T({0})"],
    *["isinstance({0}, int)", "isinstance({0}, (int, str))", "getattr({0}, 'real', {1})"],
    *["({0})[{1}]", "({0})[{1}:{2}]", "({0}).real", "({0}).__class__", "({0}).__p"],
    *["({0}).upper()", "({0}).keys()", "({0}).bit_length()", "({0}).nothing"],
    *["[{0}, *({1},)]", "{{{0}: {1}, 'z': 1}}", "({0}, {1})", "max({0}, {1}, key=repr)"],
    *["dict(a={0}, **{{'q': {1}}})", "(lambda: {0})()", "[{0} for _ in (1, 2)]"],
)


def expression(choose: random.Random, depth: int) -> str:
    """Return an expression of the names of [`HOSTS`], which may raise."""
    if depth <= 0 or choose.random() < 0.15:
        return choose.choice(NAMES if choose.random() < 0.7 else CONSTANTS)
    parts = [expression(choose, depth - 1) for _ in range(3)]
    return choose.choice(FORMS).format(*parts)


def field(choose: random.Random) -> str:
    """Return a replacement field of a message."""
    text = " " + expression(choose, choose.randint(1, 3)) + " "
    return "{" + text + choose.choice(["", "!r", "!s", ":>5", "!r:>12"]) + "}"
