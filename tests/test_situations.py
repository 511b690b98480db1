"""Breakpoints set in odd places and at odd times: each situation in a process of its own.

A situation is a program that prints `ok` last. It finds the module `victim` in its folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.launch import python, write

VICTIM = """\
def work(n):
    total = 0
    for i in range(n):
        total += i
    return total

def numbers():
    n = 0
    while True:
        n += 1
        yield n

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def caught():
    try:
        raise ValueError
    except ValueError:
        return 1
"""

PRELUDE = """\
import atexit, gc, os, signal, sys, threading, time
import dapper
from dapper import _engine
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import victim
dapper.start()
FILE = victim.__file__
def arm(line=4, **kwargs):
    kwargs = kwargs or {"kind": "count"}
    return dapper.add_breakpoint(FILE, line, **kwargs)
"""

SITUATIONS = {
    "fork": """
point = arm()
suspended = victim.numbers()
next(suspended)
other = arm(10)
child = os.fork()
if child == 0:
    status = 1
    try:
        next(suspended)
        victim.work(3)
        more = arm(5)
        victim.work(2)
        dapper.remove_breakpoint(point)
        victim.work(2)
        status = 0 if (point.hits, more.hits, other.hits) == (5, 2, 1) else 2
        print(point.hits, more.hits, other.hits, flush=True)
        dapper.stop()
        victim.work(2)
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
victim.work(3)
next(suspended)
assert (point.hits, other.hits) == (3, 1), (point.hits, other.hits)
""",
    "fork while others arm": """
going = [True]
def toggle():
    while going:
        dapper.remove_breakpoint(arm())
def run():
    while going:
        victim.work(10)
threads = [threading.Thread(target=f, daemon=True) for f in (toggle, toggle, run)]
for thread in threads: thread.start()
for _ in range(15):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        point = arm(5)
        victim.work(2)
        os._exit(point.hits)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 1, status
going.clear()
for thread in threads: thread.join()
""",
    "multiprocessing": """
import multiprocessing
if __name__ == "__main__":
    point = arm()
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        process = context.Process(target=victim.work, args=(5,))
        process.start()
        process.join()
        assert process.exitcode == 0, method
    victim.work(2)
    assert point.hits == 2
    dapper.stop()
""",
    "exec": """
if "again" not in sys.argv:
    arm()
    next(victim.numbers())
    os.execv(sys.executable, [sys.executable, __file__, "again"])
point = arm()
victim.work(2)
assert point.hits == 2
""",
    "subinterpreter": """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
point = arm()
made = interpreters.create()
code = f'''
import sys
sys.path[:] = {sys.path!r}
import victim
assert victim.work(3) == 3
try:
    import dapper
except ImportError as error:
    print("refused:", error)
else:
    print("imported")
'''
interpreters.run_string(made, code)
arm(5)
interpreters.run_string(made, "assert victim.work(3) == 3")
victim.work(2)
assert point.hits == 2, point.hits
_engine.set_promotion(False)
interpreters.run_string(made, "assert victim.work(3) == 3")
victim.work(2)
assert point.hits == 4, point.hits
interpreters.destroy(made)
dapper.stop()
""",
    "threads come and go": """
_engine.set_backend(sys.argv[1]) if len(sys.argv) > 1 else None
end = time.monotonic() + 1
def brief():
    victim.work(2)
def start():
    while time.monotonic() < end:
        threads = [threading.Thread(target=brief) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
starters = [threading.Thread(target=start) for _ in range(2)]
for starter in starters: starter.start()
while time.monotonic() < end:
    dapper.remove_breakpoint(arm())
for starter in starters: starter.join()
""",
    "atexit": """
def last():
    point = arm()
    victim.work(2)
    assert point.hits == 2
    print("ok")
atexit.register(last)
""",
    "destructor": """
points = []
class Dying:
    def __del__(self):
        points.append(arm())
        victim.work(1)
        dapper.remove_breakpoint(points[-1])
for _ in range(20):
    dying = Dying()
    dying.itself = dying
    del dying
    other = arm(5)
    gc.collect()
    dapper.remove_breakpoint(other)
assert [point.hits for point in points] == [1] * 20
""",
    "signal handler": """
points = []
inside = []
def handler(*_):
    if inside: return
    inside.append(1)
    if len(points) % 2:
        dapper.remove_breakpoint(points[-1])
        points.append(None)
    else:
        points.append(arm(5))
    inside.clear()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.002)
steady = arm()
for _ in range(20_000):
    victim.work(5)
    if len(points) > 100: break
    dapper.remove_breakpoint(arm(14))
signal.setitimer(signal.ITIMER_REAL, 0)
assert steady.hits % 5 == 0 and steady.hits
""",
    "import": """
open("while_imported.py", "w").write('''
import dapper, sys
def early():
    return 1
point = dapper.add_breakpoint(__file__, 4, kind="count")
early()
assert point.hits == 1, (point.hits, point.reason)
later = dapper.add_breakpoint(__file__, 9, kind="count")
x = 1
assert later.hits == 1, (later.hits, later.reason)
''')
import while_imported
""",
    "shutdown": """
suspended = [victim.numbers() for _ in range(10)]
for generator in suspended: next(generator)
arm(10)
arm(4, on_hit=lambda hit: None)
going = threading.Thread(target=victim.work, args=(10**12,), daemon=True)
going.start()
class Late:
    def __del__(self):
        victim.work(3)
        for generator in suspended: next(generator)
late = Late()
time.sleep(0.05)
""",
    "shutdown with entry": """
_engine.set_promotion(False)
suspended = victim.numbers()
next(suspended)
arm(10)
arm(4)
victim.work(3)
class Late:
    def __del__(self):
        victim.work(3)
late = Late()
sys.late = late
threading.Thread(target=victim.work, args=(10**12,), daemon=True).start()
""",
    "callback arms": """
points = []
def hit(h):
    if points:
        dapper.remove_breakpoint(points.pop())
    else:
        points.append(arm(5, on_hit=lambda h: points.append(arm(2))))
    gc.collect()
point = arm(4, on_hit=hit)
for _ in range(5):
    assert victim.work(4) == 6
assert point.hits == 20
""",
    "callback removes itself": """
def hit(h):
    dapper.remove_breakpoint(h.breakpoint)
    gc.collect()
for _ in range(20):
    point = arm(4, on_hit=hit)
    assert victim.work(4) == 6
    assert point.hits == 1
""",
    "callback ends the session": """
def hit(h):
    dapper.stop()
    dapper.start()
for _ in range(20):
    point = arm(4, on_hit=hit)
    suspended = victim.numbers()
    next(suspended)
    assert victim.work(4) == 6
    assert point.hits == 1
""",
    "callback raises": """
def hit(h):
    raise (ValueError if h.hits < 3 else SystemExit)
point = arm(4, on_hit=hit)
try:
    victim.work(10)
except SystemExit:
    assert point.hits == 3
else:
    raise AssertionError
dapper.remove_breakpoint(point)
assert victim.work(3) == 3
""",
    "callback switches threads": """
def hit(h):
    thread = threading.Thread(target=victim.work, args=(1,))
    thread.start()
    time.sleep(0)
    thread.join()
    dapper.remove_breakpoint(arm(5))
main = threading.main_thread()
point = arm(4, on_hit=lambda h: hit(h) if threading.current_thread() is main else None)
assert victim.work(5) == 10
assert point.hits == 10, point.hits
""",
    "code that is executed again and again": """
source = open(FILE).read()
point = arm()
gone = 0
for i in range(400):
    names = {}
    exec(compile(source, FILE, "exec"), names)
    if i % 4 == 0:
        other = arm(5)
        names["work"](2)
        dapper.remove_breakpoint(other)
    names["work"](2)
assert point.hits >= 400, point.hits
del names
""",
    "reloads": """
import importlib
# The finder of setuptools makes a name for each import, which a cache of the interpreter keeps.
sys.meta_path[:] = [one for one in sys.meta_path if "Distutils" not in str(one)]
point = arm()
gc.collect()
n_objects = None
for i in range(2000):
    importlib.reload(victim)
    if i % 100 == 0:
        other = arm(5)
        victim.work(1)
        assert other.hits == 1, (i, other.hits, other.reason)
        dapper.remove_breakpoint(other)
    victim.work(2)
    if i == 500:
        gc.collect()
        n_blocks = sys.getallocatedblocks()
gc.collect()
grown = sys.getallocatedblocks() - n_blocks
assert grown < 500, grown
assert point.hits == 4000 + 20, point.hits
""",
    "deleted modules": """
for i in range(100):
    import victim
    point = dapper.add_breakpoint(victim.__file__, 4, kind="count")
    half = victim.numbers()
    next(half)
    other = arm(10)
    victim.work(2)
    assert point.hits == 2
    del sys.modules["victim"], victim, half
    gc.collect()
    if i % 2:
        dapper.remove_breakpoint(point)
        dapper.remove_breakpoint(other)
""",
    "deep recursion": """
sys.setrecursionlimit(3000)
point = arm(14)
assert victim.deep(500) == 500
assert point.hits == 501
def at_depth(n):
    if n == 0:
        problems = []
        for _ in range(2):
            try:
                other = arm(4)
                victim.work(2)
                dapper.remove_breakpoint(other)
            except RecursionError:
                problems.append(1)
        return
    at_depth(n - 1)
sys.setrecursionlimit(400)
for n in range(300, 400):
    try:
        at_depth(n)
    except RecursionError:
        pass
sys.setrecursionlimit(3000)
for other in dapper.breakpoints():
    if other is not point and other != point:
        dapper.remove_breakpoint(other)
before = point.hits
assert victim.deep(100) == 100
assert point.hits == before + 101
fresh = arm(4)
assert victim.work(3) == 3
assert fresh.hits == 3, (fresh.hits, fresh.reason)
dapper.stop()
assert victim.work(3) == 3
assert fresh.hits == 3
""",
    "audit hook that sets breakpoints": """
busy = []
points = []
events = ("object.__getattr__", "marshal.dumps", "compile", "sys._current_frames")
def hook(event, args):
    if not busy and len(points) < 20 and event in events:
        busy.append(1)
        try:
            points.append(arm(5))
            time.sleep(0)
        finally:
            busy.pop()
original = victim.work.__code__
sys.addaudithook(hook)
point = arm()
busy.append(1)
victim.work(2)
assert point.hits == 2
assert points
assert {other.hits for other in points} == {1}, [(p.hits, p.reason) for p in points]
dapper.stop()
assert victim.work.__code__ is original
""",
    "audit hook that refuses": """
refused = []
def hook(event, args):
    if event in refused:
        raise RuntimeError("refused")
sys.addaudithook(hook)
original = victim.work.__code__
for promotion in (True, False):
    _engine.set_promotion(promotion)
    for event in (
        "compile",
        "marshal.dumps",
        "marshal.loads",
        "gc.get_objects",
        "object.__getattr__",
        "sys._current_frames",
        "sys.settrace",
        "sys.monitoring.register_callback",
    ):
        steady = arm()
        suspended = victim.numbers()
        next(suspended)
        refused[:] = [event]
        try:
            arm(5)
        except RuntimeError:
            pass
        try:
            arm(10)
        except RuntimeError:
            pass
        victim.work(2)
        assert steady.hits in (0, 2), (event, steady.hits, steady.reason)
        refused.clear()
        dapper.stop()
        gc.collect()
        assert victim.work(2) == 1
        assert victim.work.__code__ is original, event
        assert next(suspended) == 2
        dapper.start()
""",
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name: str, tmp_path: Path) -> None:
    write(tmp_path, victim=VICTIM)
    end = "" if name == "atexit" else "\nprint('ok')\n"
    program = tmp_path / "program.py"
    program.write_text(PRELUDE + SITUATIONS[name] + end)
    if name == "multiprocessing":
        text = program.read_text().replace("print('ok')", "if __name__ == '__main__': print('ok')")
        program.write_text(text)
    outcome = python("-X", "faulthandler", program, cwd=tmp_path)
    assert (outcome.status, outcome.out[-3:]) == (0, "ok\n"), outcome
    told = [
        line
        for line in outcome.err.splitlines()
        if "Warning" not in line and "dapper: error in a breakpoint" not in line
    ]
    if name not in ("callback raises", "fork", "fork while others arm"):
        assert not any("rror" in line for line in told), outcome.err
    assert sys.version_info >= (3, 11)
