"""The line of each key, and the name that was meant."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.key_path import key_path
from tokenmint.config.places import lines_of, place_of
from tokenmint.config.suggestions import did_you_mean, no_such_table

TEXT = '''# a comment, with [brackets] and = "quotes
issuer = "https://x"   # line 2

[redis]
"url" = """
[not.a.table]
key = 1 \\"""" """
password_file = \'\'\'
also = "none"
\'\'\'

[audiences."https://api"]   # line 12
clients = [
    "web", # ]
    'x]',
]
scopes = ["a"]
claims.email = "assertion.email"
claims = { a = "}", b = "#" }

[[providers.p.checks]]
claim = "x"
[[providers.p.checks]]
claim = "y"
[providers.p.checks.when]
parameter = "z"
["a\\u0022b"]
c = 1
'''


def test_each_key_has_the_line_that_it_begins_on() -> None:
    lines = lines_of(TEXT)
    assert {path: lines[path] for path in (
        "issuer", "redis", "redis.url", "redis.password_file", 'audiences."https://api"',
        'audiences."https://api".clients', 'audiences."https://api".scopes', 'audiences."https://api".claims.email',
        "providers.p.checks", "providers.p.checks.0.claim", "providers.p.checks.1.claim",
        "providers.p.checks.1.when.parameter",
    )} == {
        "issuer": 2, "redis": 4, "redis.url": 5, "redis.password_file": 8, 'audiences."https://api"': 12,
        'audiences."https://api".clients': 13, 'audiences."https://api".scopes': 17,
        'audiences."https://api".claims.email': 18, "providers.p.checks": 21, "providers.p.checks.0.claim": 22,
        "providers.p.checks.1.claim": 24, "providers.p.checks.1.when.parameter": 26,
    }  # fmt: skip
    assert not any("not" in path for path in lines)


@pytest.mark.parametrize(
    ("problem", "place"),
    [
        ('audiences."https://api".clients: there is no [clients.x]', "line 3"),
        ('audiences."https://api".providers: is required', "line 2"),
        ("clients.web.secrets[0]: expected", "line 5"),
        ("listen.cert_file, listen.key_file: set both, or neither", "line 7"),
        ("keys: publish_ahead is 1h", ""),
        ("x" * 5000, ""),
    ],
)
def test_a_problem_has_the_place_of_its_key_or_of_the_table_that_lacks_it(problem: str, place: str) -> None:
    places = {
        'audiences."https://api"': "line 2", 'audiences."https://api".clients': "line 3",
        "clients.web.secrets": "line 5", "listen.cert_file": "line 7",
    }  # fmt: skip
    assert place_of(problem, places) == place


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
VALUES = st.recursive(
    st.one_of(st.integers(0, 9), st.text(st.characters(codec="utf-8"), max_size=8)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    return (
        '"' + "".join(f"\\U{ord(char):08x}" if char in '"\\' or not char.isprintable() else char for char in text) + '"'
    )


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_any_document_that_can_be_read_has_a_line_for_each_key(document: dict[str, dict[str, Any]]) -> None:
    text = ""
    expected: dict[str, int] = {}
    for table, keys in document.items():
        expected[key_path(table)] = text.count("\n") + 1
        text += f"[{_quoted(table)}] # ] ' \"\n"
        for key, value in keys.items():
            expected[key_path(table, key)] = text.count("\n") + 1
            text += f"{_quoted(key)} = {_toml(value)}\n"
    assert tomllib.loads(text) == document
    assert lines_of(text) == expected


def test_the_name_that_was_meant_is_one_that_there_is() -> None:
    assert did_you_mean("urk", ["url", "username"]) == ": did you mean url?"
    assert did_you_mean("zzz", ["url"]) == ""
    assert did_you_mean("u" * 5000, ["url"]) == ""
    assert did_you_mean("url", ["ur\x1bl", "u" * 5000]) == ""
    assert no_such_table("audiences", "https://apj", ["https://api"]) == (
        'there is no [audiences."https://apj"]: did you mean [audiences."https://api"]?'
    )
