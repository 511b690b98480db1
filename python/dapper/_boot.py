"""Takes up the session of `dapper run`, and `DAPPER_BREAKPOINTS`, in a starting interpreter.

Importing this module is enough, and importing it twice does nothing more. It runs before the
program, so it imports as little as it can, and no failure of it may keep the program from running.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__: list[str] = []


def _take_up(session: str, breakpoints: str) -> None:
    from dapper import _engine, hooks  # noqa: PLC0415 - only a process that is asked pays for it

    if session and _engine.take_up(session):
        _engine.set_stop_callback(_stop)
    if breakpoints:
        _unattended().read(breakpoints)
    reason = _engine.unsupported()
    debugged = reason is None and _engine.is_debug_asked()
    if debugged:
        _debug().take_up()
    # A client, and a change of the file, may ask for breakpoints before the program begins.
    may_ask = debugged or bool(breakpoints)
    if reason is not None:
        _engine.refuse_all(reason)
    elif may_ask or not _engine.is_idle():
        import runpy  # noqa: F401, PLC0415 - its `exec` runs the main modules of children

        if not _engine.is_idle():
            hooks.install()
        script = sys.argv[0] if sys.argv else ""
        script = {"": "<stdin>", "-": "<stdin>", "-c": "<string>"}.get(script, script)
        _engine.await_main(script, may_ask)
    if breakpoints and reason is None:
        _unattended().watch(breakpoints)
    _prepare_for_the_end()


def _prepare_for_the_end() -> None:
    from dapper import _engine  # noqa: PLC0415 - as above

    leave = os._exit

    def _exit(status: int) -> None:
        _engine.flush_log()
        _engine.conclude()
        _engine.conclude_session(status)
        leave(status)

    os._exit = _exit  # type: ignore[assignment]
    for name in ("execv", "execve"):
        if hasattr(os, name):
            setattr(os, name, _engine.before_exec(getattr(os, name)))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_engine.flush, after_in_child=_engine.forked)


def _debug() -> "ModuleType":
    from dapper import debug  # noqa: PLC0415

    return debug


def _unattended() -> "ModuleType":
    from dapper import unattended  # noqa: PLC0415

    return unattended


def _stop(hit: object, trace: object) -> object:
    # pdb is loaded at the first stop, not at the start of every program.
    from dapper import _engine, prompt  # noqa: PLC0415

    _engine.set_stop_callback(prompt.stop)
    return prompt.stop(hit, trace)  # type: ignore[arg-type]


_session = os.environ.get("DAPPER_SESSION", "")
_breakpoints = os.environ.get("DAPPER_BREAKPOINTS", "")
if (_session or _breakpoints) and not sys.flags.ignore_environment:
    try:
        _take_up(_session, _breakpoints)
    except Exception as error:  # noqa: BLE001 - the program runs, with or without breakpoints
        sys.stderr.write(f"dapper: the program runs without breakpoints: {error}\n")
