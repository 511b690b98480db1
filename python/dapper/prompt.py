"""The prompt at a stop: pdb, entered from a probe instead of from a trace function.

Tracing is on only while the user steps. A step that arrives at a line with a probe stops there
once: the line event comes first, and the probe that follows in the same pass is passed over.
"""

from __future__ import annotations

import pdb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import TraceFunction

    from dapper._engine import Hit

__all__ = ["Prompt", "stop"]

# A line event and the probe of the same line are at most this many bytes of bytecode apart:
# three prefixes and the load of the probe.
_PROBE_LENGTH = 8


class Prompt(pdb.Pdb):
    """A pdb that is entered at a probe and traces only while stepping."""

    def __init__(self) -> None:
        # The program keeps its own handling of SIGINT.
        super().__init__(nosigint=True)
        self._line_event: tuple[FrameType, int, int] | None = None
        self._continues = False

    def stop_at(
        self, frame: FrameType, trace: TraceFunction | None, said: str | None = None
    ) -> TraceFunction | None:
        """Say something, prompt in `frame`, and return the trace function to go on with."""
        stepping = trace == self.trace_dispatch
        if not stepping:
            self.reset()
        # A step over the call that led here left the frames since then untraced.
        self._watch(frame)
        self._continues = False
        if said is not None:
            self.message(said)
        self._prompt(frame)
        if self._continues and not self.breaks:
            return None if stepping else trace
        if self.quitting:
            raise SystemExit(1)
        return self.trace_dispatch

    def has_stopped(self, frame: FrameType) -> bool:
        """Tell whether the line event of this very pass has prompted already."""
        event, self._line_event = self._line_event, None
        if event is None:
            return False
        where, line, offset = event
        return (
            where is frame
            and line == frame.f_lineno
            and 0 <= frame.f_lasti - offset <= _PROBE_LENGTH
        )

    def user_line(self, frame: FrameType) -> None:
        """Prompt at a line event, and remember where it was."""
        self._line_event = (frame, frame.f_lineno, frame.f_lasti)
        super().user_line(frame)

    def set_continue(self) -> None:
        """Go on without tracing until the next probe."""
        self._continues = True
        super().set_continue()

    def do_quit(self, arg: str) -> bool:
        """q(uit) | exit

        End the program, with exit status 1.
        """
        self.set_quit()
        raise SystemExit(1)

    do_q = do_quit
    do_exit = do_quit

    def do_EOF(self, arg: str) -> bool:  # noqa: N802 - the name is pdb's
        """EOF

        End the program, as `quit` does.
        """
        self.message("")
        return self.do_quit(arg)

    def _watch(self, frame: FrameType) -> None:
        caller: FrameType | None = frame
        while caller is not None:
            caller.f_trace = self.trace_dispatch
            self.botframe = caller
            caller = caller.f_back

    def _prompt(self, frame: FrameType) -> None:
        enter = getattr(self, "set_enterframe", None)
        if enter is None:
            self.interaction(frame, None)
            return
        with enter(frame):
            self.interaction(frame, None)


_prompts: list[Prompt] = []


def stop(hit: Hit, trace: TraceFunction | None) -> TraceFunction | None:
    """Prompt at a hit; the callback of every stop that has none of its own."""
    if not _prompts:
        _prompts.append(Prompt())
    prompt = _prompts[0]
    if prompt.has_stopped(hit.frame):
        return trace
    said = None
    if hit.error is not None:
        said = f"condition {hit.breakpoint.condition!r} failed: {hit.breakpoint.last_error}"
    return prompt.stop_at(hit.frame, trace, said)
