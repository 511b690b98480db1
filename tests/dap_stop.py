"""A program that has stopped, and what is asked of it there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.dap_client import Body, Client, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stop:
    """A program that has stopped at the line that says so."""

    def __init__(self, client: Client, stop: Body) -> None:
        self.client = client
        self.thread = stop["threadId"]
        self.frame = client.frames(self.thread, levels=1)[0]["id"]

    def scopes(self) -> dict[str, Body]:
        scopes = self.client.request("scopes", {"frameId": self.frame})["scopes"]
        return {scope["name"]: scope for scope in scopes}

    def children(self, reference: int, **more: object) -> list[Body]:
        arguments = {"variablesReference": reference, **more}
        rows: list[Body] = self.client.request("variables", arguments)["variables"]
        return rows

    def named(self, reference: int, **more: object) -> dict[str, Body]:
        return {row["name"]: row for row in self.children(reference, **more)}

    def locals(self, **more: object) -> dict[str, Body]:
        return self.named(self.scopes()["Locals"]["variablesReference"], **more)

    def evaluate(self, expression: str, context: str = "watch", **more: object) -> Body:
        arguments = {
            "expression": expression,
            "frameId": self.frame,
            "context": context,
            **more,
        }
        return self.client.request("evaluate", arguments)


@contextmanager
def stopped(folder: Path, source: str, **settings: object) -> Iterator[Stop]:
    """Run a program up to its line `# stop`."""
    with listening(folder, source) as (client, program, _):
        client.begin(**settings)
        lines = program.read_text().splitlines()
        line = next(at for at, text in enumerate(lines, 1) if text.endswith("# stop"))
        client.set_breakpoints(program, line)
        client.request("configurationDone")
        yield Stop(client, client.stopped())
