"""The public functions: a session, and the breakpoints in it."""

import os

from dapper import _engine, hooks

# Type checkers know this name; importing it from `typing` would take longer than all the rest of
# the start of a session.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal, TypedDict

    from dapper._engine import Breakpoint, Hit

    Backend = Literal["eval_frame", "sys_monitoring", "settrace"]
    Kind = Literal["stop", "log", "count", "snapshot"]
    Profile = Literal["development", "production"]
    Purity = Literal["allow", "require"]
    Path = str | os.PathLike[str]

    class CaptureOptions(TypedDict, total=False):
        """What a snapshot records, and its limits."""

        stack_depth: int
        frames_with_locals: int
        locals_depth: int
        max_items: int
        max_string: int
        max_total_bytes: int
        max_count: int
        time_budget_s: float
        expressions: Sequence[str]
        redact: Sequence[str]
        repr: Literal["safe", "full"]


__all__ = [
    "Config",
    "Status",
    "add_breakpoint",
    "add_breakpoints",
    "add_function_breakpoint",
    "breakpoints",
    "clear_breakpoints",
    "exchange_breakpoints",
    "remove_breakpoint",
    "start",
    "status",
    "stop",
]


class Config:
    """How a session behaves.

    `cache_dir` is where instrumented code is kept; `None` is the user's cache folder. It counts
    when the store is first used: a later session in the same process keeps that store.
    `cache_max_size` (such as `"500M"`) and `cache_max_age` (such as `"30d"`) are what the store is
    kept within, `"none"` is no limit; `None` is what `DAPPER_CACHE_MAX_SIZE` and
    `DAPPER_CACHE_MAX_AGE` say, else 1 GiB and 90 days. `trusted_stores` are folders of stores
    that may belong to another user, who can run code in this process by what is in there; they
    are read and never written. `None` is what `DAPPER_CACHE_TRUST` says.
    `events` is a file that gets every hit as a JSON line; `"-"` is standard output.
    `log_target` is where log messages go: `"stderr"`, `"stdout"`, the path of a file that they are
    appended to, or `"jsonl:"` and a path for a file of JSON lines, which `dapper tail` reads.
    `None` leaves it as it is, at first standard error.
    `every_line` holds patterns of files that get a counting probe on every line.
    `backend` is how breakpoints reach code: `"eval_frame"` compiles them in, `"sys_monitoring"`
    and `"settrace"` change no code and watch its lines instead. With `promotion` off functions
    keep their `__code__`, and the eval-frame hook has each call run the instrumented code.
    `condition_budget_s` is how long one evaluation of a condition or of an expression in a message
    may take; `math.inf` is no limit, and compiles calls of the program's own code into the line
    too. With `measure` the evaluations of conditions in the line are counted and timed, which
    costs about 20 ns each. With `purity` `"require"` expressions that may have side effects are
    refused.
    `cpu_budget` is the share of one processor that conditions and messages of a breakpoint may
    take, `cpu_budget_total` that of all together; a breakpoint that takes more is disarmed. With
    `profile` `"development"` there is no limit unless one is given, with `"production"` they are
    0.01 and 0.05.
    """

    __slots__ = (
        "backend",
        "cache_dir",
        "cache_max_age",
        "cache_max_size",
        "condition_budget_s",
        "cpu_budget",
        "cpu_budget_total",
        "events",
        "every_line",
        "log_target",
        "measure",
        "profile",
        "promotion",
        "purity",
        "trusted_stores",
    )

    def __init__(
        self,
        *,
        cache_dir: "Path | None" = None,
        events: "Path | None" = None,
        every_line: "Sequence[str]" = (),
        log_target: "Path | None" = None,
        backend: "Backend" = "eval_frame",
        promotion: bool = True,
        profile: "Profile" = "development",
        purity: "Purity" = "allow",
        condition_budget_s: float = 0.1,
        measure: bool = False,
        cpu_budget: float | None = None,
        cpu_budget_total: float | None = None,
        cache_max_size: str | None = None,
        cache_max_age: str | None = None,
        trusted_stores: "Sequence[Path] | None" = None,
    ) -> None:
        self.backend = backend
        self.promotion = promotion
        self.cache_dir = cache_dir
        self.events = events
        self.every_line = tuple(every_line)
        self.log_target = log_target
        self.profile = profile
        self.purity = purity
        self.condition_budget_s = condition_budget_s
        self.measure = measure
        self.cpu_budget = cpu_budget
        self.cpu_budget_total = cpu_budget_total
        self.cache_max_size = cache_max_size
        self.cache_max_age = cache_max_age
        self.trusted_stores = trusted_stores


class Status:
    """What a session is doing.

    `active` tells whether a session was started and not stopped, `unsupported` why this
    interpreter cannot hold probes (if it cannot), `hooks` what is hooked in the interpreter now,
    and `breakpoints` all breakpoints, oldest first.
    """

    __slots__ = ("active", "breakpoints", "hooks", "unsupported")

    def __init__(self) -> None:
        self.active: bool = _Session.active
        self.unsupported: str | None = _engine.unsupported()
        self.hooks: list[str] = hooks.installed()
        self.breakpoints: list[Breakpoint] = _engine.breakpoints()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Status({', '.join(shown)})"


class _Session:
    active = False


def start(config: Config | None = None) -> None:
    """Begin a session. While nothing is asked for, nothing is hooked."""
    config = config or Config()
    if _Session.active:
        raise RuntimeError("a session is active: call stop() first")
    configured = False
    try:
        _configure(config)
        configured = True
    finally:
        if not configured:
            stop()
    _Session.active = True
    _follow()


def _configure(config: Config) -> None:
    _engine.set_purity(config.purity)
    _engine.set_condition_budget(config.condition_budget_s)
    _engine.set_measuring(config.measure)
    _engine.set_profile(config.profile)
    _engine.set_cpu_budget(config.cpu_budget, config.cpu_budget_total)
    _engine.set_backend(config.backend)
    _engine.set_promotion(config.promotion)
    _engine.set_every_line(list(config.every_line))
    if config.cache_dir is not None:
        _engine.set_cache_dir(os.fspath(config.cache_dir))
    if config.cache_max_size is not None or config.cache_max_age is not None:
        _engine.set_cache_limits(config.cache_max_size, config.cache_max_age)
    if config.trusted_stores is not None:
        _engine.set_trusted_stores([os.fspath(root) for root in config.trusted_stores])
    if config.events is not None:
        _engine.record_to(os.fspath(config.events))
    if config.log_target is not None:
        _engine.set_log_target(os.fspath(config.log_target))


def stop() -> None:
    """End the session: all breakpoints and hooks go, and the original code comes back."""
    for breakpoint_ in _engine.breakpoints():
        _engine.remove(breakpoint_)
    _engine.clear()
    _engine.restore()
    _engine.set_backend("eval_frame")
    _engine.set_promotion(True)
    _engine.set_purity("allow")
    _engine.set_condition_budget(0.1)
    _engine.set_measuring(False)
    _engine.set_profile("development")
    _engine.cancel_step()
    _engine.set_exception_breakpoints([], None)
    _engine.close_record()
    _engine.flush_log()
    _Session.active = False
    _follow()


def status() -> Status:
    """Tell what the session is doing."""
    return Status()


def add_breakpoint(
    file: "Path",
    line: int,
    *,
    column: int | None = None,
    on_hit: "Callable[[Hit], object] | None" = None,
    log_message: str | None = None,
    kind: "Kind | None" = None,
    condition: str | None = None,
    hit_condition: str | None = None,
    purity: "Purity | None" = None,
    capture: "bool | CaptureOptions | None" = None,
) -> "Breakpoint":
    """Ask for a breakpoint, and say where it went.

    A breakpoint with `on_hit` calls it at each hit, from the frame that was hit; one with
    `log_message` writes that text to the log, with what its `{expressions}` are at the line;
    one of kind `"count"` only counts; any other prompts with pdb.

    With `capture` each hit records a snapshot in the log: the stack, local variables and chosen
    expressions, as text; `True`, or a dict of options. Without another purpose the breakpoint is of
    kind `"snapshot"` and does nothing else. The options are `stack_depth` (20 frames),
    `frames_with_locals` (the innermost 3), `locals_depth` (2 levels into values), `max_items` (20),
    `max_string` (200 characters), `max_total_bytes` (16384), `max_count` (100 snapshots of a
    breakpoint), `time_budget_s` (0.005), `expressions`, `redact` (names to leave out beside those
    such as `password` and `token`), and `repr` (`"safe"`, or `"full"` for the program's own).

    Where `condition` is false nothing happens, and nothing is counted. A condition that raises
    stops (`Hit.error`), or is told once by a breakpoint that does not stop. `hit_condition` is a
    rule for `Breakpoint.hits`, such as `"> 10"` or `"% 100"`. What is wrong with any of them is a
    `ValueError`. With `purity` `"require"` expressions that may have side effects are refused.

    Where several code objects share the line (a lambda, a generator expression, a `def` of one
    line), `column`, in characters from 1, means the one that stands there.

    Code that is loaded is bound at once, frames that run it already included; a
    file that is not loaded yet is instrumented when it is imported. `Breakpoint.verified`,
    `Breakpoint.tier` and `Breakpoint.reason` tell.
    """
    _check_line(line)
    if column is not None and column < 1:
        raise ValueError(f"column {column} does not exist: columns count from 1")
    terms = {
        "condition": condition,
        "hit_condition": hit_condition,
        "log_message": log_message,
        "purity": purity,
        "capture": capture,
    }
    kind = _kind(kind, log_message, on_hit, capture)
    return _bound([_engine.add(os.fspath(file), line, kind, terms, on_hit, column)])[0]


def add_breakpoints(
    file: "Path",
    lines: "Iterable[int]",
    *,
    on_hit: "Callable[[Hit], object] | None" = None,
    log_message: str | None = None,
    kind: "Kind | None" = None,
    condition: str | None = None,
    hit_condition: str | None = None,
    purity: "Purity | None" = None,
    capture: "bool | CaptureOptions | None" = None,
) -> "list[Breakpoint]":
    """Ask for the same breakpoint on several lines of a file, which is armed once for all of them.

    Each is a breakpoint of its own, in the order of `lines`. Where one is refused, none is set.
    All the rest is as for `add_breakpoint`.
    """
    terms = {
        "condition": condition,
        "hit_condition": hit_condition,
        "log_message": log_message,
        "purity": purity,
        "capture": capture,
    }
    kind = _kind(kind, log_message, on_hit, capture)
    name, asked = os.fspath(file), list(lines)
    for line in asked:
        _check_line(line)
        _engine.check(name, line, kind, terms)
    return _bound([_engine.add(name, line, kind, terms, on_hit) for line in asked])


def add_function_breakpoint(
    function: str,
    *,
    on_hit: "Callable[[Hit], object] | None" = None,
    log_message: str | None = None,
    kind: "Kind | None" = None,
    condition: str | None = None,
    hit_condition: str | None = None,
    purity: "Purity | None" = None,
    capture: "bool | CaptureOptions | None" = None,
) -> "Breakpoint":
    """Ask for a breakpoint where functions start: at the first statement behind the docstring.

    `function` is `module:qualname`, as in `"app.models:User.save"`; `*`, `?` and `[...]` in the
    qualified name are wildcards, so that `"app.models:User.*"` means every method. The main
    script is `__main__`. All the rest is as for `add_breakpoint`.

    A module that is loaded is bound at once; any other when it is imported under this name.
    """
    terms = {
        "condition": condition,
        "hit_condition": hit_condition,
        "log_message": log_message,
        "purity": purity,
        "capture": capture,
    }
    kind = _kind(kind, log_message, on_hit, capture)
    return _bound([_engine.add_function(function, kind, terms, on_hit)])[0]


def _kind(
    kind: "Kind | None",
    log_message: str | None,
    on_hit: "Callable[[Hit], object] | None",
    capture: "bool | CaptureOptions | None",
) -> "Kind":
    if not _Session.active:
        raise RuntimeError("no session is active: call start() first")
    if kind is None:
        kind = "stop" if log_message is None else "log"
        # An empty dict asks for a snapshot, too.
        if kind == "stop" and on_hit is None and capture is not None and capture is not False:
            kind = "snapshot"
    if kind != "stop" and on_hit is not None:
        raise ValueError(f'on_hit is for kind "stop", not {kind!r}')
    if kind == "stop" and on_hit is None:
        from dapper import prompt  # noqa: PLC0415 - pdb is only loaded when something may prompt

        _engine.set_stop_callback(prompt.stop)
    return kind


def _check_line(line: int) -> None:
    if line < 1:
        raise ValueError(f"line {line} does not exist: lines count from 1")


def _bound(asked: "list[Breakpoint]") -> "list[Breakpoint]":
    _follow()
    _engine.bind_breakpoints(asked)
    return asked


def remove_breakpoint(breakpoint: "Breakpoint") -> None:  # noqa: A002 - the word of the API
    """Take a breakpoint out; its file gets its other code back where it can be reached."""
    if not _engine.remove(breakpoint):
        raise ValueError(f"{breakpoint!r} was removed before")
    _engine.bind_breakpoints([breakpoint])
    _follow()


def clear_breakpoints() -> None:
    """Take all breakpoints out."""
    gone = [point for point in _engine.breakpoints() if _engine.remove(point)]
    _engine.bind_breakpoints(gone)
    _follow()


def exchange_breakpoints(
    file: "Path",
    removed: "Iterable[Breakpoint]",
    added: "Sequence[tuple[int, Mapping[str, str | None], Callable[[Hit], object]]]",
) -> "list[Breakpoint]":
    """Take breakpoints of `file` out and put others in.

    Each has its line, its `condition` and `hit_condition`, and its callback. The file is armed
    once. Breakpoints that were removed before are passed over; when one that is to be put in is
    refused, nothing is changed.
    """
    if added and not _Session.active:
        raise RuntimeError("no session is active: call start() first")
    name = os.fspath(file)
    for line, terms, _ in added:
        _check_line(line)
        _engine.check(name, line, "stop", terms)
    gone = [point for point in removed if _engine.remove(point)]
    asked = [_engine.add(name, line, "stop", terms, on_hit) for line, terms, on_hit in added]
    _follow()
    _engine.bind_breakpoints([*gone, *asked])
    return asked


def breakpoints() -> "list[Breakpoint]":
    """Return all breakpoints, oldest first."""
    return _engine.breakpoints()


def _follow() -> None:
    """Hook what has to be hooked for what is asked for now, and nothing else."""
    if _Session.active and not _engine.is_idle():
        hooks.install()
    else:
        hooks.uninstall()
