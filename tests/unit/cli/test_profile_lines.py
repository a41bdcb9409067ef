"""Lines of profiles: an exported profile is imported as it was, with any content."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.profile_export import line_of
from tokenmint.cli.profile_lines import checked, lines_of, ranges
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.limits import profile_violations
from tokenmint.rpc import convert

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | TEXT | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PROFILES = st.builds(
    Profile,
    principal=st.from_regex(r"[A-Za-z0-9._:@-]{1,20}", fullmatch=True),
    identities=st.lists(
        st.builds(Identity, st.from_regex(r"[a-z]{1,5}", fullmatch=True), TEXT.filter(bool)), unique=True, max_size=3
    ).map(tuple),
    disabled=st.booleans(),
    claims=st.dictionaries(TEXT, VALUES, max_size=3),
    roles=st.lists(TEXT.filter(bool), max_size=3).map(tuple),
).filter(lambda profile: not profile_violations(profile))


@given(PROFILES)
def test_an_import_of_an_export_is_the_same(profile: Profile) -> None:
    stored = convert.profile_message(profile)  # as the service sends it
    line = line_of(stored)
    assert len(line.splitlines()) == 1
    assert convert.profile(checked(line.encode(), "x")) == convert.profile(stored)
    assert line_of(checked(line.encode(), "x")) == line


def test_a_usual_profile_and_any_other_spelling_are_read_alike() -> None:
    usual = {"principal": "ada", "identities": [{"provider": "idp", "subject": "1"}], "claims": {"a": [1, None, {}]}}
    for other in (usual | {"createTime": "2026-01-01T00:00:00Z"}, usual | {"disabled": None}, usual | {"etag": "x"}):
        read = checked(json.dumps(other).encode(), "x")
        read.ClearField("create_time")
        read.ClearField("etag")
        assert read == checked(json.dumps(usual).encode(), "x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"principal": "ada", "claims": {"n": 1' + "0" * 400 + "}}", "write it as text"),
        ('{"principal": "ada", "claims": {"n": 1' + "0" * 5000 + "}}", "write it as text"),
        ('{"principal": "ada", "claims": {"n": -9007199254740993}}', "write it as text"),
        ('{"principal": "ada", "claims": {"n": [12345678901234567891]}}', "write it as text"),
        ('{"principal": "ada", "principal": "bob"}', "twice"),
        ('{"principal": "ada", "claims": {"a": {"b": 1, "b": 2}}}', "twice"),
        ('{"principal": "ada", "claims": {"n": 1e999}}', "finite"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_would_be_stored_otherwise_than_it_is_written_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        checked(line.encode(), "x:1")
    assert len(str(refused.value)) < 600


def test_ranges_of_lines() -> None:
    from array import array

    assert ranges(array("Q", [3, 4, 5, 9, 11, 12])) == "3-5, 9, 11-12"
    assert ranges(array("Q")) == ""


def test_lines_keep_their_numbers() -> None:
    import io

    text = b"a\n\n b \n" + b"x" * (1 << 21) + b"\nc"
    assert list(lines_of(io.BytesIO(text))) == [(1, b"a\n"), (3, b" b \n"), (4, None), (5, b"c")]
