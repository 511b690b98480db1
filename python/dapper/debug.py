"""Debug this process from an editor: `listen`, `connect`, `wait_for_client`, `breakpoint`.

The names are those of debugpy's module, so that code written for it goes on working, and they are
there as `dapper.listen` and so on as well:

    import dapper

    dapper.listen(5678)
    dapper.wait_for_client()
"""

import os
import sys

from dapper import _engine, hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = tuple[str, int] | int


__all__ = [
    "breakpoint",
    "configure",
    "connect",
    "debug_this_thread",
    "is_client_connected",
    "listen",
    "log_to",
    "trace_this_thread",
    "wait_for_client",
]

_PROPERTIES: "dict[str, object]" = {"qt": "none", "subProcess": True}
_used: "list[str]" = []
# What is in the environment for children, and what was there before.
_shared: "dict[str, str | None]" = {}
# What starts programs, and what stands in for it.
_starters: "dict[str, tuple[object, object]]" = {}
_leave = os._exit


def follow() -> None:
    """Hook what has to be hooked for the client and its breakpoints, and nothing else."""
    if _engine.is_idle():
        hooks.uninstall()
    else:
        hooks.install()
    debugged, listening = _engine.is_debugged()
    if debugged:
        if sys.breakpointhook is sys.__breakpointhook__ and _means_us():
            sys.breakpointhook = _engine.stop_here
        if os._exit is _leave:
            os._exit = _exit  # type: ignore[assignment]
        return
    if sys.breakpointhook is _engine.stop_here:
        sys.breakpointhook = sys.__breakpointhook__
    if os._exit is _exit:
        os._exit = _leave
    if not listening:
        _unshare()


def _means_us() -> bool:
    return os.environ.get("PYTHONBREAKPOINT", "") in ("", "dapper.breakpoint")


def _exit(status: int) -> None:
    _engine.flush_log()
    _engine.conclude_session(status)
    _leave(status)


def listen(
    address: "Address",
    *,
    in_process_debug_adapter: bool = True,  # noqa: ARG001 - there is no other
) -> tuple[str, int]:
    """Wait for clients from now on, at `(host, port)` or at a port of this machine alone.

    Return the host and port; with port 0 the system chooses one. The server is in this process,
    in threads that the program does not see.
    """
    _use("listen")
    host, port = _host_and_port(address)
    found = _engine.listen_for_clients(host, port, follow, _with_children())
    _used.append("listen")
    _share()
    return found


def connect(
    address: "Address",
    *,
    access_token: "str | None" = None,
    parent_session_pid: "int | None" = None,  # noqa: ARG001 - the adapter is told by the process
) -> tuple[str, int]:
    """Connect to an adapter that waits at `(host, port)`, or at a port of this machine."""
    _use("connect")
    host, port = _host_and_port(address)
    token = access_token or os.environ.get("DAPPER_TOKEN")
    _engine.connect_client(f"{host}:{port}", follow, token, _with_children())
    _share()
    return host, port


def wait_for_client() -> None:
    """Wait until a client is there and has set its breakpoints."""
    if not (any(_engine.is_debugged()) or _used):
        raise RuntimeError("there is nothing to wait for: call listen or connect first")
    _engine.wait_for_client()


wait_for_client.cancel = _engine.stop_waiting_for_client  # type: ignore[attr-defined]


def is_client_connected() -> bool:
    """Tell whether a client is there."""
    return _engine.is_client_connected()


def debug_this_thread() -> None:
    """Have this thread stop where it is asked to, as every thread does from its start."""
    _engine.set_thread_debugged(True)


def trace_this_thread(should_trace: bool, /) -> None:  # noqa: FBT001 - as in debugpy
    """Say whether this thread stops where it is asked to."""
    _engine.set_thread_debugged(should_trace)


def configure(properties: "Mapping[str, object] | None" = None, /, **kwargs: object) -> None:
    """Set properties, before `listen` or `connect`.

    `subProcess` says whether the processes that this one starts are debugged, too; `qt` is
    accepted and means nothing, since threads of every kind are debugged without it.
    """
    if any(_engine.is_debugged()):
        raise RuntimeError("configure comes before listen and connect")
    for name, value in {**(properties or {}), **kwargs}.items():
        if name not in _PROPERTIES:
            known = ", ".join(repr(name) for name in _PROPERTIES)
            raise ValueError(f"unknown property {name!r}: the properties are {known}")
        if type(value) is not type(_PROPERTIES[name]):
            kind = type(_PROPERTIES[name]).__name__
            raise ValueError(f"{name!r} has to be of type {kind}, not {value!r}")
        _PROPERTIES[name] = value


def log_to(path: str, /) -> None:
    """Write the messages of the protocol to a file in the folder `path` from now on."""
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 - pathlib is too dear for every start
    _engine.log_messages_to(os.path.join(path, f"dapper.server-{os.getpid()}.log"))  # noqa: PTH118


breakpoint = _engine.stop_here  # noqa: A001 - the name is debugpy's


def take_up() -> None:
    """Begin what the environment asks for, before the program runs."""
    if _is_service():
        _engine.offer_to_forked(follow)
        return
    _engine.join_debugger(follow)
    _share()
    _engine.wait_at_start()


def attach_from_outside(address: str, token: str) -> None:
    """Connect to the adapter that has sent this code into the process."""
    _engine.connect_client(address, follow, token, _with_children())
    _share()


def _is_service() -> bool:
    """Tell whether this is a process of `multiprocessing`'s own."""
    return sys.argv[:1] == ["-c"] and any(
        f"from multiprocessing.{name} import main" in argument
        for name in ("resource_tracker", "forkserver")
        for argument in sys.orig_argv
    )


def _use(name: str) -> None:
    if name in _used:
        raise RuntimeError(f"{name} was called in this process already")
    reason = _engine.unsupported()
    if reason is not None:
        raise RuntimeError(reason)


def _with_children() -> bool:
    return bool(_PROPERTIES["subProcess"])


def _host_and_port(address: "Address") -> tuple[str, int]:
    if isinstance(address, int):
        return "127.0.0.1", address
    host, port = address
    return host, int(port)


def _share() -> None:
    """Have the processes that this one starts be debugged, as far as the environment reaches."""
    session = _engine.session_of_children()
    if session is None:
        _unshare()
        return
    variables = {"DAPPER": "run", "DAPPER_SESSION": session}
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as above
    bootstrap = os.path.join(here, "bootstrap")  # noqa: PTH118 - as above
    path = os.environ.get("PYTHONPATH", "")
    if bootstrap not in path.split(os.pathsep) and not _starts_itself(os.path.dirname(here)):  # noqa: PTH120
        variables["PYTHONPATH"] = bootstrap + os.pathsep + path if path else bootstrap
    _stand_in(bootstrap if "PYTHONPATH" in variables or bootstrap in path else None)
    for name, value in variables.items():
        _shared.setdefault(name, os.environ.get(name))
        os.environ[name] = value


def _stand_in(bootstrap: "str | None") -> None:
    """Have interpreters be debugged that are started with an environment of their own."""
    if _starters:
        return
    try:  # noqa: SIM105 - what is not imported here is not there for the program to see
        import _posixsubprocess  # noqa: F401, PLC0415 - what `subprocess` starts programs with
    except ImportError:
        pass
    places = {"posix_spawn": ("os", 2), "posix_spawnp": ("os", 2), "execve": ("os", 2)}
    places["fork_exec"] = ("_posixsubprocess", 5)
    for name, (module, at) in places.items():
        before = getattr(sys.modules.get(module), name, None)
        if before is not None:
            _starters[name] = before, _engine.with_debugger_for_children(before, at, bootstrap)
    _exchange({id(before): after for before, after in _starters.values()})


def _exchange(functions: "dict[int, object]") -> None:
    for module, names in (
        ("os", ("posix_spawn", "posix_spawnp", "execve")),
        ("_posixsubprocess", ("fork_exec",)),
        ("subprocess", ("_fork_exec",)),
    ):
        there = sys.modules.get(module)
        for name in names:
            found = functions.get(id(getattr(there, name, None)))
            if found is not None:
                setattr(there, name, found)


def _unshare() -> None:
    _exchange({id(after): before for before, after in _starters.values()})
    _starters.clear()
    for name, before in _shared.items():
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
    _shared.clear()
    if _engine.is_debug_asked():
        # What asked for this process would ask for its children.
        for name in ("DAPPER", "DAPPER_SESSION"):
            os.environ.pop(name, None)


def _starts_itself(folder: str) -> bool:
    """Tell whether `site` starts dapper in every interpreter like this one."""
    import site  # noqa: PLC0415 - only a process that has children to tell pays for it

    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return folder in folders and os.path.isfile(os.path.join(folder, "dapper.pth"))  # noqa: PTH113, PTH118
