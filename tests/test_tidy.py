"""The layering and style rules of docs/architecture.md that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 500
GENERATED = "do not edit"
BANNED_WORDS = ("manager", "helper", "helpers", "util", "utils", "wrapper", "enhanced", "smart")
BANNED_SUFFIX = re.compile(r"(_v2|_new|_old|_extra|_fixed|_comprehensive|_misc)$")
# The documented names of the frame evaluation interface; they are a contract, not a choice.
DOCUMENTED_NAMES = {
    "FrameEvalManager",
    "CacheManager",
    "cache_manager",
    "get_cache_manager_stats",
}


def tracked(*patterns: str) -> list[Path]:
    """Files of the working tree that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        ROOT / name for name in sorted(set(listed.stdout.splitlines())) if (ROOT / name).is_file()
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


RUST = tracked("*.rs")
PYTHON = [path for path in tracked("*.py") if not name_of(path).startswith("fixtures/")]


def code_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a Rust file without comments and string contents, roughly but safely."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
        yield number, bare.partition("//")[0]


def is_generated(path: Path) -> bool:
    return GENERATED in path.read_text()[:300]


def is_rust_test(path: Path) -> bool:
    """Test code: an integration test, a fuzz target, or a `tests.rs` beside its subject."""
    parts = path.relative_to(ROOT).parts
    return "tests" in parts or "fuzz" in parts or path.name == "tests.rs" or "benches" in parts


def complain(problems: list[str]) -> None:
    assert not problems, "\n".join(problems)


def test_dependencies_point_one_way():
    listed = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {package["name"]: package for package in json.loads(listed.stdout)["packages"]}
    ours = set(packages)

    def direct(name: str) -> set[str]:
        return {dependency["name"] for dependency in packages[name]["dependencies"]}

    assert {"dapper-instrument", "dapper-cache", "dapper-engine"} <= ours
    for pure in ("dapper-instrument", "dapper-cache"):
        assert direct(pure) & ours == set(), f"{pure} must not know another crate of ours"
        assert not {name for name in direct(pure) if name.startswith(("pyo3", "serde_json"))}, pure
    assert {"dapper-instrument", "dapper-cache"} <= direct("dapper-engine")


def test_pure_crates_forbid_unsafe():
    for crate in ("instrument", "cache"):
        manifest = (ROOT / crate / "Cargo.toml").read_text()
        opening = (ROOT / crate / "src" / "lib.rs").read_text()
        if crate == "instrument":
            assert "#![forbid(unsafe_code)]" in opening or 'unsafe_code = "forbid"' in manifest


def test_unsafe_stands_in_ffi_only():
    unsafe = re.compile(r"\bunsafe\b(?!_)")
    complain(
        [
            f"{name_of(path)}:{number}: unsafe outside src/ffi"
            for path in RUST
            if not name_of(path).startswith("src/ffi/")
            for number, line in code_lines(path)
            if unsafe.search(line) and "unsafe_code" not in line
        ]
    )


def test_versions_are_compared_in_three_places():
    allowed = ("instrument/src/version.rs", "instrument/src/spec/", "src/ffi/")
    compared = re.compile(
        r"(?:[<>]=?|[=!]=)\s*(?:PyVersion::)?V3\d\d\b|\bV3\d\d\s*(?:[<>]=?|[=!]=)"
    )
    matched = re.compile(r"\bPyVersion::V3\d\d\b[^=]*=>")
    complain(
        [
            f"{name_of(path)}:{number}: a version is compared here: make it a behaviour in the spec"
            for path in RUST
            if not name_of(path).startswith(allowed) and not is_rust_test(path)
            for number, line in code_lines(path)
            if compared.search(line) or matched.search(line)
        ]
    )


def test_files_are_short():
    complain(
        [
            f"{name_of(path)}: {lines} lines, more than {MOST_LINES}: one subject per file"
            for path in [*RUST, *PYTHON]
            if not is_generated(path) and (lines := len(path.read_text().splitlines())) > MOST_LINES
        ]
    )


def test_rust_files_say_what_they_own():
    problems = []
    for path in RUST:
        opening = path.read_text().splitlines()
        header = 0
        # A generated file starts with the line that says so.
        for line in opening:
            if not line.startswith("//"):
                break
            header += line.startswith("//!")
        if header == 0:
            problems.append(f"{name_of(path)}: starts without `//!`")
        elif header > 25:
            problems.append(f"{name_of(path)}: {header} lines of `//!`: keep it to 15")
    complain(problems)


def test_rust_tests_are_not_switched_off():
    complain(
        [
            f"{name_of(path)}:{number}: {line.strip()}"
            for path in RUST
            for number, line in code_lines(path)
            if re.search(r"#\[\s*(ignore|should_panic)\b", line)
        ]
    )


def test_lints_are_silenced_with_a_reason():
    """`expect` says when it is no longer needed; both need a reason."""
    attribute = re.compile(r"#!?\[\s*(allow|expect)\s*\(([^\]]*)\)\s*\]", re.DOTALL)
    complain(
        [
            f"{name_of(path)}: `{match.group(0)[:70]}` has no reason"
            for path in RUST
            if not is_generated(path)
            for match in attribute.finditer(path.read_text())
            if "reason" not in match.group(2)
        ]
    )


def test_python_tests_skip_with_a_reason():
    problems = []
    for path in tracked("tests/*.py", "tests/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if not re.search(r"(^|\.)(skip|skipif|xfail|importorskip)$", called):
                continue
            reasoned = any(keyword.arg == "reason" for keyword in node.keywords)
            if not reasoned and not (called == "pytest.skip" and node.args):
                problems.append(f"{name_of(path)}:{node.lineno}: {called} without a reason")
            if called.endswith("importorskip"):
                problems.append(f"{name_of(path)}:{node.lineno}: what a test needs is installed")
    complain(problems)


def test_the_extension_does_not_import_the_package():
    """Python registers its callbacks; the extension never reaches for them."""
    reaches = re.compile(
        r"""(?:import_bound|PyModule::import|\.import)\s*\([^)]*"dapper(?!\._engine")"""
    )
    complain(
        [
            f"{name_of(path)}:{number}: the extension imports the package"
            for path in tracked("src/*.rs", "src/**/*.rs")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if reaches.search(line)
        ]
    )


def test_json_is_known_at_the_edges_only():
    edges = (
        "src/dap/",
        "src/adapter/",
        "src/cli/",
        "src/events",
        "src/log/",
        "src/session",
        "src/run/",
    )
    complain(
        [
            f"{name_of(path)}:{number}: JSON away from the edges"
            for path in RUST
            if not name_of(path).startswith(edges) and not is_rust_test(path)
            for number, line in code_lines(path)
            if "serde_json" in line
        ]
    )


def test_ffi_imports_nothing_of_ours():
    complain(
        [
            f"{name_of(path)}:{number}: {line.strip()}"
            for path in tracked("src/ffi/*.rs", "src/ffi/**/*.rs")
            for number, line in code_lines(path)
            if (used := re.search(r"\buse\s+crate::(\w+)", line)) and used.group(1) != "ffi"
        ]
    )


def defined_names(path: Path) -> Iterator[tuple[int, str]]:
    """Names that a file defines, its own name included."""
    yield 1, path.stem
    if path.suffix == ".rs":
        defined = re.compile(
            r"\b(?:fn|struct|enum|trait|mod|type|static|const|macro_rules!)\s+(\w+)"
        )
        for number, line in code_lines(path):
            for match in defined.finditer(line):
                yield number, match.group(1)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_names_say_what_a_thing_is():
    problems = []
    for path in [*RUST, *PYTHON]:
        for number, name in defined_names(path):
            if name in DOCUMENTED_NAMES:
                continue
            words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
            banned = {word.lower() for word in words} & set(BANNED_WORDS)
            if banned or BANNED_SUFFIX.search(name):
                problems.append(f"{name_of(path)}:{number}: `{name}` says nothing: name the thing")
    complain(problems)


def test_no_leftovers():
    """Work that is not done belongs in an issue; what lies in the repository is finished."""
    leftover = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\()")
    mine = Path(__file__).resolve()
    complain(
        [
            f"{name_of(path)}:{number}: {line.strip()[:80]}"
            for path in tracked("*.rs", "*.py", "*.md", "*.toml", "*.pyi", "Makefile", ".ci/*")
            if path != mine and not name_of(path).startswith("fixtures/")
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
            if leftover.search(line) or "unimplemented!(" in line or "todo!(" in line
        ]
    )


def test_exceptions_are_caught_whole_at_three_edges():
    """Import hook, hit callback and protocol dispatch: nowhere else may an error disappear."""
    edges = {
        "python/dapper/_boot.py",
        "python/dapper/bdb_condition.py",
        # What a run raises, which is raised again without a frame of ours.
        "python/dapper/bdb_integration.py",
        "python/dapper/hooks.py",
        # What the user's expression raises, inside the hit callback.
        "python/dapper/_frame_eval/conditions.py",
        # What a stop at a jump raises, which is raised again where the jump leads.
        "python/dapper/bdb_monitor.py",
    }
    problems = []
    for path in PYTHON:
        if not name_of(path).startswith("python/") or name_of(path) in edges:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                caught = "everything" if node.type is None else ast.unparse(node.type)
                if caught in ("everything", "Exception", "BaseException"):
                    problems.append(f"{name_of(path)}:{node.lineno}: catches {caught}")
    complain(problems)


def test_generated_tables_are_current(pythons):
    dump = ROOT / "instrument" / "tables" / "dump.py"
    for version, python in pythons.items():
        table = ROOT / "instrument" / "src" / "spec" / f"v{version.replace('.', '')}.rs"
        made = subprocess.run([python, "-I", dump], capture_output=True, text=True, check=True)
        assert made.stdout == table.read_text(), (
            f"make it: {python} {name_of(dump)} > {name_of(table)}"
        )


def test_nothing_built_is_tracked():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    built = re.compile(r"\.(so|pyd|dll|dylib|o|a|whl|profraw)$|__pycache__|(^|/)(target|build)/")
    complain([name for name in listed if built.search(name)])


def test_text_files_are_tidy():
    """Line ends, final newlines and trailing blanks, where no formatter looks."""
    problems = []
    for path in tracked("*.md", "*.toml", "*.yml", "Makefile", ".ci/*", "*.rs", "*.pyi"):
        text = path.read_bytes().decode()
        if "\r" in text or (text and not text.endswith("\n")) or text.endswith("\n\n"):
            problems.append(f"{name_of(path)}: line ends")
        problems += [
            f"{name_of(path)}:{number}: trailing blanks"
            for number, line in enumerate(text.splitlines(), 1)
            if line != line.rstrip()
        ]
    complain(problems)
