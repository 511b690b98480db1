"""`python -m dapper.pdb`: the pdb of this Python, without tracing between its stops.

It takes the command line of `python -m pdb` and is that pdb in all it says and does; `Pdb` is its
debugger with an `Integration`. What an integration changes on purpose is told there.
"""

from __future__ import annotations

import pdb  # noqa: T100 - this is a pdb
from typing import Any

from dapper.bdb_integration import integrate

__all__ = ["Pdb", "main"]


class Pdb(pdb.Pdb):
    """A `pdb.Pdb` that is watched for instead of traced."""

    # What they are differs between versions.
    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        integrate(self)


def main() -> None:
    """Run the command line of pdb, with every debugger that it makes being ours."""
    pdb.Pdb = Pdb  # type: ignore[misc]
    pdb.main()


if __name__ == "__main__":
    # The program to debug replaces all that is in `__main__`.
    from dapper import pdb as this  # noqa: PLW0406

    this.main()
