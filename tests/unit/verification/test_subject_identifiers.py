"""The subjects of security events: RFC 9493, complex subjects, and the forms of earlier drafts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.token_errors import ClaimRejected
from tokenmint.verification.subject_identifiers import MOST, Subject, read_subject

OURS, OTHER = "https://idp.example", "https://other.example"
ISSUERS = frozenset({OURS})
FORMATS = {"email": "email", "opaque": "sub", "account": "acct"}
ADA: dict[str, Any] = {"format": "iss_sub", "iss": OURS, "sub": "1842"}
EVE: dict[str, Any] = {"format": "iss_sub", "iss": OTHER, "sub": "1842"}
FOUND = {"iss": OURS, "sub": "1842"}

READ: dict[str, tuple[Any, Subject]] = {
    "3.2.3 iss_sub": (ADA, Subject((FOUND,))),
    "3.2.3 iss_sub of another issuer": (EVE, Subject((), foreign=True)),
    "3.2.3 an issuer with a slash is another": (ADA | {"iss": OURS + "/"}, Subject((), foreign=True)),
    "3.2.1 account": ({"format": "account", "uri": "acct:a@b.example"}, Subject(({"acct": "a@b.example"},))),
    "3.2.2 email": ({"format": "email", "email": "a@b.example"}, Subject(({"email": "a@b.example"},))),
    "3.2.4 opaque": ({"format": "opaque", "id": "1842"}, Subject(({"sub": "1842"},))),
    "3.2.5 phone_number, which nothing reads": ({"format": "phone_number", "phone_number": "+1"}, Subject()),
    "3.2.6 did, which nothing reads": ({"format": "did", "url": "did:x:1"}, Subject()),
    "3.2.7 uri, which nothing reads": ({"format": "uri", "uri": "urn:x"}, Subject()),
    "3.2.8 aliases": ({"format": "aliases", "identifiers": [ADA, {"format": "opaque", "id": "7"}]},
                      Subject((FOUND, {"sub": "7"}))),
    "3.2.8 aliases, one of another issuer": ({"format": "aliases", "identifiers": [EVE, ADA]}, Subject((FOUND,))),
    "3.2.8 aliases, all of another issuer": ({"format": "aliases", "identifiers": [EVE]}, Subject((), foreign=True)),
    "a format of the future": ({"format": "new", "x": 1}, Subject()),
    "SSF 3.3 complex": ({"format": "complex", "user": ADA, "device": {"format": "opaque", "id": "d"}},
                        Subject((FOUND,))),
    "SSF 3.3 complex without a user": ({"format": "complex", "device": {"format": "opaque", "id": "d"}}, Subject()),
    "a complex subject of earlier drafts": ({"user": ADA, "session": {"format": "opaque", "id": "s"}},
                                            Subject((FOUND,))),
    "a complex subject of another issuer": ({"format": "complex", "user": EVE}, Subject((), foreign=True)),
    "Google's iss-sub": ({"subject_type": "iss-sub", "iss": OURS, "sub": "1842"}, Subject((FOUND,))),
    "Google's id_token_claims": ({"subject_type": "id_token_claims", "iss": OURS, "sub": "1842", "email": "x"},
                                 Subject((FOUND,))),
    "Google's oauth_token": ({"subject_type": "oauth_token", "token_type": "refresh_token", "token": "x"}, Subject()),
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), READ.values(), ids=list(READ))
def test_rfc_9493_formats(value: Any, expected: Subject) -> None:
    assert read_subject(value, ISSUERS, FORMATS) == expected


@pytest.mark.parametrize(
    "value",
    [
        None, "1842", [], 7, {}, {"format": 1}, {"format": ""}, {"iss": OURS, "sub": "1"},
        {"format": "iss_sub", "iss": OURS}, {"format": "iss_sub", "sub": "1"}, ADA | {"sub": ""}, ADA | {"sub": 1},
        ADA | {"sub": "x" * 2049}, {"format": "email"}, {"format": "opaque", "id": None},
        {"format": "aliases"}, {"format": "aliases", "identifiers": []}, {"format": "aliases", "identifiers": ADA},
        {"format": "aliases", "identifiers": [ADA] * (MOST + 1)}, {"format": "aliases", "identifiers": ["x"]},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [ADA]}]},
        {"format": "complex", "user": "1842"}, {"format": "complex", "user": {"format": "complex", "user": ADA}} | {
            "user": {"format": "", "user": ADA}},
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_rfc_9493_a_malformed_subject_is_refused(value: Any) -> None:
    with pytest.raises(ClaimRejected):
        read_subject(value, ISSUERS, FORMATS)


TEXT = st.sampled_from([OURS, OTHER, "1842", "iss_sub", "aliases", "complex", "email", "opaque", ""]) | st.text(
    max_size=8
)
NAMES = st.sampled_from(["format", "subject_type", "iss", "sub", "user", "identifiers", "email", "id", "uri"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@given(JSON)
def test_any_subject_names_persons_of_this_provider_alone(value: Any) -> None:
    try:
        found = read_subject(value, ISSUERS, FORMATS)
    except ClaimRejected:
        return
    assert len(found.claims) <= MOST
    for claims in found.claims:
        assert all(isinstance(text, str) and text for text in claims.values())
        assert claims.get("iss", OURS) == OURS
    assert not (found.foreign and found.claims)
