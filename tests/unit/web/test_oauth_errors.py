"""The table from errors to OAuth's answers, and forms as they are read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_small_types import classes, make

from tokenmint.base import errors, token_errors
from tokenmint.web.forms import parse_form
from tokenmint.web.oauth_errors import CODES, answer, row_of

REGISTERED = {
    "invalid_request", "invalid_client", "invalid_scope", "unauthorized_client", "unsupported_grant_type",  # RFC 6749
    "invalid_grant",  # RFC 6749
    "invalid_target",  # RFC 8693, RFC 8707
    "invalid_dpop_proof",  # RFC 9449
    "temporarily_unavailable", "server_error",  # RFC 6749 section 4.1.2.1, as everybody uses them here too
}  # fmt: skip


def test_every_class_has_a_row() -> None:
    for kind in classes():
        assert any(parent in CODES for parent in kind.__mro__), kind
    assert {row.code for row in CODES.values()} == REGISTERED


@pytest.mark.parametrize("kind", classes())
def test_every_answer_is_one_that_clients_read(kind: type[errors.TokenmintError]) -> None:
    given_answer = answer(make(kind))
    body = json.loads(bytes(given_answer.body))
    assert body["reason"] == kind.reason
    assert all(" " <= char <= "~" and char not in '"\\' for char in body["error_description"])
    assert given_answer.headers["cache-control"] == "no-store"
    assert ("retry-after" in given_answer.headers) == (
        given_answer.status_code in (429, 503) and kind not in (errors.Conflict, errors.StoreWentBack)
    )
    assert ("www-authenticate" in given_answer.headers) == (given_answer.status_code == 401)


@pytest.mark.parametrize("kind", [kind for kind in classes() if issubclass(kind, token_errors.TokenRejected)])
def test_rfc_8693_2_2_2_a_refused_token_is_an_invalid_request(kind: type[errors.TokenmintError]) -> None:
    assert (row_of(kind()).code, row_of(kind()).status) == ("invalid_request", 400)


def test_what_is_not_ours_says_nothing() -> None:
    told = answer(RuntimeError("a secret"))
    assert told.status_code == 500
    assert b"secret" not in bytes(told.body)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), st.text(st.characters(codec="utf-8")), max_size=9
    )
)
def test_a_form_comes_back_as_it_was_sent(fields: dict[str, str]) -> None:
    from urllib.parse import urlencode

    assert parse_form(urlencode(fields).encode()) == {name: (value,) for name, value in fields.items() if value}


@given(st.binary(max_size=100))
def test_whatever_is_sent_is_a_form_or_refused(body: bytes) -> None:
    try:
        form = parse_form(body)
    except errors.InvalidRequest:
        return
    assert all(len(values) == 1 for values in form.values())
