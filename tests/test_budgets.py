"""The source has budgets: sizes, docstrings, and words that do not belong.  Exceptions are listed and may only shrink."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

LONG_FILES: dict[str, int] = {}
"""File -> its present number of lines."""
LONG_FUNCTIONS: dict[str, int] = {}
"""file::function -> its present number of lines."""

SOURCE = sorted([*(ROOT / "tinyobs").rglob("*.py"), *(ROOT / "plugins").glob("*/tinyobs_*/**/*.py")])
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/**/*.py")])
PROSE = sorted(
    p
    for pattern in (
        "*.md",
        "*.cfg",
        "*.toml",
        "*.ini",
        "docs/**/*.md",
        "plugins/*/*.*",
        "contrib/**/*.*",
        "examples/**/*.*",
    )
    for p in ROOT.glob(pattern)
    if p.is_file() and p.suffix != ".pyc"
)
FOREIGN_WORDS = re.compile(
    "|".join(
        [
            "/" + "work/",
            "/root" + r"/\.?\w+/\.",
            "/home/" + r"\w+/",
            "python" + "hosted",
            r"(?i:\bfix" + r"me\b)",
            r"\bTO" + r"DO\b",
        ]
    )
)
"""Paths of the machine that somebody works on, hosts of registries, and notes to oneself."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    """Return the parsed source of a file."""
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """Return a path as it is written in the lists above."""
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[Function]:
    """Return all functions of a file."""
    return [n for n in ast.walk(tree(path)) if isinstance(n, Function)]


def test_files_are_short():
    """No file is longer than the budget, and no entry of the list is larger than it need be."""
    long = {name_of(p): n for p in SOURCE if (n := len(p.read_text().splitlines())) > FILE_LINES_MAX}
    assert long == LONG_FILES


def test_functions_are_short():
    """No function is longer than the budget, its docstring counted and its decorators not, and no entry is too large."""
    long = {
        f"{name_of(p)}::{f.name}": lines
        for p in SOURCE
        for f in functions(p)
        if (lines := (f.end_lineno or 0) - f.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == LONG_FUNCTIONS


def test_every_module_class_and_public_function_has_a_docstring():
    """What is public is explained where it is defined."""
    missing = []
    for path in SOURCE:
        if not ast.get_docstring(tree(path)):
            missing.append(name_of(path))
        missing += [f"{name_of(path)}:{n.lineno} {n.name}" for n in public(tree(path)) if not ast.get_docstring(n)]
    assert missing == []


def public(parent: ast.Module | ast.ClassDef) -> list[Function | ast.ClassDef]:
    """Return public classes, functions and methods; what a function defines inside is private."""
    found: list[Function | ast.ClassDef] = []
    for node in parent.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            overload = any(ast.unparse(d) == "overload" for d in node.decorator_list)
            found += [] if overload else [node]
            if isinstance(node, ast.ClassDef):
                found += public(node)
    return found


def test_every_test_says_what_it_shows():
    """The docstring of a test begins with a sentence on one line, or a few lines, that ends."""
    wrong = [
        f"{name_of(p)}:{f.lineno} {f.name}"
        for p in TESTS
        for f in functions(p)
        if f.name.startswith("test_")
        and p.name.startswith("test_")
        and not re.search(r"[.:;?)`]\Z", (ast.get_docstring(f) or "").strip())
    ]
    assert wrong == []


def test_tests_do_not_sleep():
    """Time is trio's, which tests move; only beside other programs may a test look again after a while."""
    sleeping = [
        f"{name_of(p)}:{n.lineno}"
        for p in TESTS
        if not p.stem.endswith("_peer") and "e2e" not in p.parts
        for n in ast.walk(tree(p))
        if isinstance(n, ast.Call) and ast.unparse(n.func) in ("time.sleep", "sleep")
    ]
    assert sleeping == []


def test_no_words_that_do_not_belong():
    """Nothing refers to the machine it was written on, and nothing is left to be done later."""
    found = [
        f"{name_of(p)}:{number}: {line.strip()[:80]}"
        for p in {*SOURCE, *TESTS, *PROSE}
        for number, line in enumerate(p.read_text(errors="replace").splitlines(), 1)
        if FOREIGN_WORDS.search(line)
    ]
    assert sorted(found) == []


def test_attrs_is_the_only_way_to_declare_values():
    """One library for classes of values, so that every one reads alike."""
    found = [
        f"{name_of(p)}:{n.lineno}"
        for p in SOURCE
        for n in ast.walk(tree(p))
        if (isinstance(n, ast.ImportFrom) and n.module == "dataclasses")
        or (isinstance(n, ast.Import) and any(a.name == "dataclasses" for a in n.names))
    ]
    assert found == []


def test_no_modules_without_a_subject():
    """A module is called after its one idea."""
    assert [name_of(p) for p in SOURCE if p.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_no_two_tests_have_the_same_name() -> None:
    """Files of tests are modules without packages: two of one name cannot be collected together."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)
