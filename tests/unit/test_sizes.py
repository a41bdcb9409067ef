"""No file has over 400 lines and no function over 60. Arguments, branches and complexity are ruff's to count."""

import ast
import fnmatch
import subprocess
from collections.abc import Iterator
from typing import Final

from tests.pages import ROOT

FILE: Final = 400
FUNCTION: Final = 60


def sources() -> list[str]:
    """Return the tracked Python files that people write: .gitattributes marks those that are generated."""
    if not (ROOT / ".git").exists():
        return []
    tracked = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
    lines = [line.split() for line in (ROOT / ".gitattributes").read_text().splitlines()]
    generated = [words[0] for words in lines if "linguist-generated=true" in words]
    assert generated
    return [
        file
        for file in tracked
        if (ROOT / file).exists() and not any(fnmatch.fnmatch(file, pattern) for pattern in generated)
    ]


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement, at any depth; no expression holds a function of more than a line."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child
            yield from statements(child)


def long_functions(text: str) -> list[str]:
    """Return the functions of a module that are too long, with their lines."""
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in statements(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= FUNCTION
    ]


def test_files_and_their_functions_are_short() -> None:
    """One test for all files: hundreds of tests that compute nothing take seconds of every worker."""
    long: dict[str, list[str]] = {}
    for file in sources():
        text = (ROOT / file).read_text()
        lines = text.count("\n")
        long[file] = [f"{lines} lines"] * (lines > FILE) + long_functions(text)
    assert {file: found for file, found in long.items() if found} == {}


def test_a_long_function_is_found_wherever_it_is_nested() -> None:
    body = "        x = 1\n" * (FUNCTION - 1)
    assert long_functions(f"class A:\n    def fits(self):\n{body}") == []
    assert long_functions(f"class A:\n    async def long(self):\n{body}        x = 2\n") == ["long: 61 lines"]
