"""TCP ports for programs that the tests start."""

from __future__ import annotations

import random
import socket

# Below those that systems give to connections by themselves: nobody takes one meanwhile.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"every port that was tried between {PORTS} is taken")
