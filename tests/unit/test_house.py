"""The rules of language that a test can hold (CONTRIBUTING.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service" / "tokenmint"
GENERATED = {"v1", "envoy"}
BEGINS_WITH_A_RELATIVE = re.compile(r"(What|Who|Where|Whoever|Whatever)\b")
LOOKS_SO = re.compile(rf"[\"'](\\\n)?{BEGINS_WITH_A_RELATIVE.pattern}")
"""A text that begins with one: most modules have none, and need not be parsed."""
PRONOUNS = re.compile(r"\b(whoever|whatever|whom)\b", re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def modules() -> Iterator[Path]:
    for module in SERVICE.rglob("*.py"):
        if module.relative_to(SERVICE).parts[0] not in GENERATED:
            yield module


def modules_beside_the_service() -> Iterator[Path]:
    for folder in ("tests", "benchmarks", "release", "clients/python/src", "clients/python/examples", "docs"):
        for module in (ROOT / folder).rglob("*.py"):
            if "v1" not in module.parts:
                yield module


def pages() -> list[Path]:
    return [*(ROOT / name for name in ("README.md", "SECURITY.md")), *(ROOT / "docs").rglob("*.md")]


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield every text that stands as a statement: the docstrings of modules, classes, functions and fields."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def test_no_docstring_begins_with_a_relative_clause() -> None:
    assert [
        f"{module.relative_to(ROOT)}:{line}"
        for module in (*modules(), *modules_beside_the_service())
        if LOOKS_SO.search(source := module.read_text())
        for line, text in docstrings(source)
        if BEGINS_WITH_A_RELATIVE.match(text)
    ] == []


def test_the_service_and_the_docs_name_their_subjects() -> None:
    texts = {module: module.read_text() for module in modules()}
    texts |= {page: CODE.sub("", page.read_text()) for page in pages()}
    assert [
        f"{path.relative_to(ROOT)}: {match[0]}" for path, text in texts.items() for match in PRONOUNS.finditer(text)
    ] == []


def test_the_rules_find_breaches() -> None:
    for opening, closing in (('"""', '"""'), ('"', '"'), ("'", "'"), ('r"""', '"""'), ('"""\\\n', '"""')):
        source = f"x = 1\n{opening}What x is.{closing}"
        assert LOOKS_SO.search(source), source
        assert [line for line, text in docstrings(source) if BEGINS_WITH_A_RELATIVE.match(text)] == [2], source
    assert PRONOUNS.search("Whoever holds it")
