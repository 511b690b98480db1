"""The command `dapper-instrument`."""

import signal
import sys

from dapper import _engine

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit status."""
    # The command is native and never comes back to Python in between: an interrupt has to end it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _engine.instrument_main(sys.argv[1:], sys.executable)


if __name__ == "__main__":
    sys.exit(main())
