"""The header of transaction tokens in the Python client. All languages play `tests/clients/scenarios.json`."""

import re
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint_client import TokenRejected
from tokenmint_client.txn_token import HEADER, received_token, sent_headers

TEXTS = st.text(st.sampled_from("aZ09-_.,= \r\n\t\0é:"), max_size=12)


@given(text=TEXTS | st.builds("{}.{}.{}".format, TEXTS, TEXTS, TEXTS))
def test_section_12_1_a_text_is_one_token_or_refused(text: str) -> None:
    """Nothing in it can add a header, a second token or another scheme."""
    is_token = bool(re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}", text))
    with nullcontext() if is_token else pytest.raises(TokenRejected, match="MALFORMED"):
        assert sent_headers(text)[HEADER] == text
    with nullcontext() if is_token else pytest.raises(TokenRejected, match="MALFORMED"):
        assert received_token([text]) == text


@pytest.mark.parametrize("values", [[], ["e30.e30.c2ln"] * 2, ["e30.e30.c2ln", ""]])
def test_section_12_1_a_request_has_exactly_one(values: list[str]) -> None:
    with pytest.raises(TokenRejected, match="exactly one"):
        received_token(values)


def test_section_12_1_a_token_of_any_length_is_not_read() -> None:
    with pytest.raises(TokenRejected):
        sent_headers("a.b." + "c" * 16_384)
