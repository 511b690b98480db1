"""The command `dapper`."""

import site
import sys
from pathlib import Path
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

from dapper import _engine

__all__ = ["main"]


def main() -> int:
    """Run the command line; usually the process becomes the program and this never returns."""
    if sys.argv[1:2] == ["adapter"]:
        from dapper.adapter.__main__ import main as adapt  # noqa: PLC0415 - nobody else needs it

        return adapt(sys.argv[2:])
    if sys.flags.ignore_environment:
        sys.stderr.write("dapper: cannot reach a program run with -E or -I\n")
        return 2
    package = Path(__file__).parent
    starts_itself = _is_start_file(package.parent / "dapper.pth")
    sys.stdout.flush()
    return _engine.command(
        sys.argv[1:],
        {
            "executable": sys.executable,
            "flags": _interpreter_flags(),
            "bootstrap": str(package / "bootstrap"),
            "starts_itself": starts_itself,
        },
    )


def _interpreter_flags() -> list[str]:
    """Return the options that this interpreter was started with, as they were given."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    for target in (["-m", "dapper"], sys.argv[:1]):
        if before[-len(target) :] == target:
            return before[: -len(target)]
    flags: list[str] = _args_from_interpreter_flags()
    return flags


def _is_start_file(path: Path) -> bool:
    """Tell whether `site` reads this file when the interpreter starts."""
    folders = [*site.getsitepackages(), site.getusersitepackages() if site.ENABLE_USER_SITE else ""]
    return not sys.flags.no_site and str(path.parent) in folders and path.is_file()


if __name__ == "__main__":
    sys.exit(main())
