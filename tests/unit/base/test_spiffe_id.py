"""SPIFFE ids, as SPIFFE-ID section 2 has them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.spiffe_id import MAX_ID, in_trust_domain, is_segment, is_trust_domain, spiffe_id

DOMAIN = "prod.example.com"
SEGMENTS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=40).filter(is_segment)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("prod.example.com", True), ("a_b-c.9", True), ("x" * 255, True), ("x" * 256, False), ("", False),
        ("Prod.example.com", False), ("prod.example.com:443", False), ("user@prod", False), ("prod/x", False),
        ("pröd", False), ("prod example", False), ("prod\n", False), ("%70rod", False),
    ],
)  # fmt: skip
def test_spiffe_id_section_2_1_trust_domains(name: str, good: bool) -> None:
    assert is_trust_domain(name) is good


@pytest.mark.parametrize(
    "path",
    ["", "/", "web", "/web/", "//web", "/web//x", "/.", "/..", "/web/../admin", "/web/./x", "/a b", "/%61", "/ü",
     "/a:b", "/a@b", "/web?x", "/web#x", "/web\n", "/" + "x" * MAX_ID],
)  # fmt: skip
def test_spiffe_id_section_2_2_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match="SPIFFE id"):
        spiffe_id(DOMAIN, path)
    assert not in_trust_domain(f"spiffe://{DOMAIN}{path}", DOMAIN)


def test_spiffe_id_section_2_3_the_longest() -> None:
    path = "/" + "x" * (MAX_ID - len(f"spiffe://{DOMAIN}/"))
    assert len(spiffe_id(DOMAIN, path)) == MAX_ID
    with pytest.raises(ValueError, match="2048"):
        spiffe_id(DOMAIN, path + "x")


@given(st.lists(SEGMENTS, min_size=1, max_size=6))
def test_what_is_made_is_of_its_trust_domain_alone(segments: list[str]) -> None:
    made = spiffe_id(DOMAIN, "/" + "/".join(segments))
    assert in_trust_domain(made, DOMAIN)
    assert not in_trust_domain(made, "example.com")
    assert not in_trust_domain(made, DOMAIN + ".evil")


@given(st.text(max_size=80))
def test_no_other_text_is_one(text: str) -> None:
    for subject in (text, f"spiffe://{text}", f"spiffe://{DOMAIN}{text}"):
        if in_trust_domain(subject, DOMAIN):
            path = subject.removeprefix(f"spiffe://{DOMAIN}/")
            assert path != subject
            assert all(map(is_segment, path.split("/")))


@pytest.mark.parametrize("subject", [None, 7, ["spiffe://prod.example.com/web"], {}, "SPIFFE://prod.example.com/web"])
def test_what_is_no_text_is_none(subject: object) -> None:
    assert not in_trust_domain(subject, DOMAIN)
