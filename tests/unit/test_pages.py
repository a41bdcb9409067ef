"""The runner that follows the documents notices where they are wrong."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.pages import Block, blocks_of, check_output, differences, last_document, like, rows_of


@pytest.mark.parametrize(
    ("shown", "told", "found"),
    [
        ({"a": 1}, {"a": 1}, 0),
        ({"a": "eyJ…"}, {"a": "eyJhbGciOi.J9"}, 0),
        ({"a": "eyJ…"}, {"a": "x"}, 1),
        ({"exp": 1}, {"exp": 2}, 0),
        ({"exp": 1}, {"exp": "2"}, 1),
        ({"a": 1}, {"a": 2}, 1),
        ({"a": True}, {"a": 1}, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 1),
        ({"a": 1, "b": 2}, {"a": 1}, 1),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, 0),
        ({"a": 1, "…": "…"}, {"b": 2}, 1),
        ([1, 2], [1], 1),
        ([{"a": 1}], [{"a": 2}], 1),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, 2),
        ({}, [], 1),
    ],
)
def test_an_answer_that_is_not_as_shown_is_noticed(shown: Any, told: Any, found: int) -> None:
    assert len(differences(shown, told)) == found


def test_a_line_is_like_another_but_for_what_is_left_out() -> None:
    assert like("a … c", "a b c")
    assert not like("a … c", "a b d")
    assert not like("a.c", "abc")


def done(status: int, out: str = "", err: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], status, out, err)


def test_a_refusal_is_one_and_says_what_is_shown() -> None:
    block = Block("sh", "", "tokenmint x\n", 1)
    refusal = Block("text", "", "tokenmint: no (X)\n", 2)
    check_output(block, None, done(0))
    check_output(block, refusal, done(4, err="tokenmint: no (X)\n"))
    for answer, outcome in (
        (None, done(1)),
        (refusal, done(0, "tokenmint: no (X)\n")),
        (refusal, done(4, err="tokenmint: no (Y)\n")),
        (Block("json", "", '{"a": 1}', 2), done(0, '{"a": 2}')),
        (Block("json", "", '{"a": 1}', 2), done(0, "")),
    ):
        with pytest.raises(AssertionError):
            check_output(block, answer, outcome)


def test_the_answer_is_the_last_command_s() -> None:
    assert last_document('{"a": 1}\nwords {\n{"b": 2}\nmore words\n') == {"b": 2}
    assert last_document("no JSON\n") is None


def test_blocks_keep_their_kind_their_mark_and_lose_their_indentation(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "1. Do\n\n   ```sh lane\n   a\n     b\n   ```\n\n```\npicture\n```\n\n| `x (Y)` | z |\n| `a` and | b |\n"
    )
    assert [(block.kind, block.mark, block.text) for block in blocks_of(page)] == [
        ("sh", "lane", "a\n  b\n"),
        ("", "", "picture\n"),
    ]
    assert rows_of(page) == ["x (Y)"]
