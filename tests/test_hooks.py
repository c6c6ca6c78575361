"""A hook exists when it has five things: a typed specification, a section in the docs, two users and a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tinyobs.plugin_manager import build_plugin_manager

ROOT = Path(__file__).parents[1]
SPECS = {
    node.name: node
    for node in ast.parse((ROOT / "tinyobs" / "hookspecs.py").read_text()).body
    if isinstance(node, ast.FunctionDef)
}
PAGE = (ROOT / "docs" / "hooks.md").read_text()


def signature(node: ast.FunctionDef) -> str:
    """Return the head of a function as it is written in the source."""
    return f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


def implementations(folder: str) -> dict[str, set[str]]:
    """Return hook -> files below a folder that implement it."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob("*.py"):
        if "tests" in path.relative_to(ROOT / folder).parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("tinyobs_"):
                found.setdefault(node.name, set()).add(str(path.relative_to(ROOT)))
    return found


def sections() -> dict[str, str]:
    """Return heading -> text of the sections for hooks."""
    parts = re.split(r"^### `(tinyobs_[^`]*)`$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


BUILTIN = implementations("tinyobs/builtin")
EXAMPLES, PLUGINS = implementations("examples"), implementations("plugins")
OUTSIDE = {name: EXAMPLES.get(name, set()) | PLUGINS.get(name, set()) for name in EXAMPLES | PLUGINS}
TESTS = {
    node.name
    for path in (ROOT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_hook_")
}


@pytest.mark.parametrize("name", SPECS)
def test_it_has_a_typed_specification(name):
    """Name with prefix, a type for every argument and the result, a docstring, no body, never async."""
    node = SPECS[name]
    assert name.startswith("tinyobs_")
    assert node.returns is not None
    assert all(a.annotation is not None for a in node.args.args)
    assert ast.get_docstring(node)
    assert len(node.body) == 1
    assert [ast.unparse(d).partition("(")[0] for d in node.decorator_list] == ["hookspec"]


@pytest.mark.parametrize("name", SPECS)
def test_it_has_a_section_in_the_docs(name):
    """The heading is the exact signature; below it stand prose and an example that implements the hook."""
    text = sections()[signature(SPECS[name])]
    assert f"def {name}(" in text
    assert len(text) > 300


@pytest.mark.parametrize("name", SPECS)
def test_the_example_in_the_docs_is_a_plugin(name, tmp_path):
    """It can be loaded as a file; hooks and arguments are spelt as specified."""
    blocks = re.findall(r"```python\n(.*?)```", sections()[signature(SPECS[name])], re.DOTALL)
    file = tmp_path / "example.py"
    file.write_text("\n".join(blocks))
    assert build_plugin_manager([file], entry_points=False).plugins()[-1].hooks == (name,)


@pytest.mark.parametrize("name", SPECS)
def test_it_has_a_builtin_user(name):
    """Our own features enter through it."""
    assert BUILTIN.get(name)


@pytest.mark.parametrize("name", SPECS)
def test_a_plugin_or_example_uses_it(name):
    """So does something outside of the package, which the docs point at."""
    assert OUTSIDE.get(name)


@pytest.mark.parametrize("name", SPECS)
def test_it_has_a_test(name):
    """A test is called `test_hook_` and the rest of its name."""
    assert "test_hook_" + name.removeprefix("tinyobs_") in TESTS


def test_nothing_else_is_documented_or_tested():
    """Sections and tests of hooks that are gone go, too."""
    assert list(sections()) == [signature(node) for node in SPECS.values()]
    assert {t.removeprefix("test_hook_") for t in TESTS} == {n.removeprefix("tinyobs_") for n in SPECS}
    assert set(BUILTIN) | set(OUTSIDE) <= set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_the_users_named_in_the_docs_are_users(name):
    """Each path behind "Used by" leads to an implementation."""
    last = sections()[signature(SPECS[name])].rsplit("Used by", 1)[1].partition("\n\n")[0]
    users = BUILTIN[name] | OUTSIDE[name]
    for named in re.findall(r"`([^`]+)`", last):
        assert any(user.startswith(named) or user.endswith("/" + named) for user in users), named
