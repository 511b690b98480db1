"""Debug this process from an editor: `listen`, `connect`, `wait_for_client`, `breakpoint`.

The names are those of debugpy's module, so that code written for it goes on working:

    import dapper.debug

    dapper.debug.listen(5678)
    dapper.debug.wait_for_client()
"""

from dapper import _engine, hooks

__all__ = ["breakpoint", "connect", "is_client_connected", "listen", "wait_for_client"]


def follow() -> None:
    """Hook what has to be hooked for the breakpoints that there are, and nothing else."""
    if _engine.is_idle():
        hooks.uninstall()
    else:
        hooks.install()


def listen(address: "tuple[str, int] | int") -> tuple[str, int]:
    """Wait for clients from now on, at `(host, port)` or at a port of this machine alone.

    Return the host and port; with port 0 the system chooses one.
    """
    host, port = ("127.0.0.1", address) if isinstance(address, int) else address
    return _engine.listen_for_clients(host, port, follow)


def connect(address: "tuple[str, int] | int") -> None:
    """Connect to an adapter that waits at `(host, port)`, or at a port of this machine."""
    host, port = ("127.0.0.1", address) if isinstance(address, int) else address
    _engine.connect_client(f"{host}:{port}", follow)


def wait_for_client() -> None:
    """Wait until a client is there and has set its breakpoints."""
    _engine.wait_for_client()


def is_client_connected() -> bool:
    """Tell whether a client is there."""
    return _engine.is_client_connected()


breakpoint = _engine.stop_here  # noqa: A001 - the name is debugpy's
