"""Rules of the house that a count decides: no guessed attributes, no long functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nmdeploy"
LINES_MAX = 50
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}


def guesses(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that ask an object for an attribute that it may lack: `hasattr`, and `getattr` with a default."""
    for node in ast.walk(tree):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if isinstance(node, ast.Call) and (called == "hasattr" or (called == "getattr" and len(node.args) > 2)):
            yield node


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, from its `def` to its end."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_the_counts_see_what_they_count() -> None:
    tree = ast.parse("def f(x):\n    if hasattr(x, 'a'):\n        return getattr(x, 'a', 0) + getattr(x, 'b')\n")
    assert [ast.unparse(node) for node in guesses(tree)] == ["hasattr(x, 'a')", "getattr(x, 'a', 0)"]
    assert list(functions(tree)) == [("f", 3)]


def test_types_declare_what_they_are_and_nobody_guesses_it() -> None:
    found = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, tree in TREES.items()
        for node in guesses(tree)
        if not name.startswith("_util/")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_function_is_long(name: str) -> None:
    long = [f"{function}: {lines} lines" for function, lines in functions(TREES[name]) if lines > LINES_MAX]
    assert not long, f"{name}: {', '.join(long)}: {LINES_MAX} are the most"
