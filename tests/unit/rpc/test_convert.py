"""Between messages and types: each message is converted, or refused with every violation."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.errors import InvalidRequest
from tokenmint.model.tokens import ID_TOKEN
from tokenmint.profiles.limits import profile_violations
from tokenmint.rpc import convert, structs
from tokenmint.v1 import profile_pb2
from tokenmint.v1 import token_exchange_service_pb2 as pb

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, json_values, max_size=4))
def test_json_goes_through_a_struct_and_comes_back(value: dict[str, Any]) -> None:
    back = structs.plain(structs.struct(value))
    assert json.dumps(back, sort_keys=True) == json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    """Return the number as an integer where it is one: 1.0 is 1."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_a_violation(number: float) -> None:
    message = profile_pb2.Profile(principal="ada")
    message.claims.fields["x"].number_value = number
    message.claims.fields["unset"].SetInParent()
    assert [item.field for item in profile_violations(convert.profile(message))] == ["profile.claims"]


@given(texts, texts, texts, st.lists(texts, max_size=3), st.integers(-5, 10**6), texts, texts)
def test_a_request_is_converted_or_refused(
    token: str, kind: str, audience: str, scopes: list[str], seconds: int, nonce: str, request_id: str
) -> None:
    message = pb.ExchangeTokenRequest(
        subject_token=token,
        subject_token_type=kind,
        audience=audience,
        scopes=scopes,
        nonce=nonce,
        request_id=request_id,
    )
    message.lifetime.seconds = seconds
    with contextlib.suppress(InvalidRequest):
        request = convert.exchange_request(message)
        assert (request.subject_token.reveal(), request.audience, request.lifetime) == (token, audience, seconds)
        assert request.subject_token_type in (kind, ID_TOKEN)


@pytest.mark.parametrize(
    ("seconds", "nanos", "valid"),
    [(0, 0, False), (1, 0, True), (86400, 0, True), (86401, 0, False), (1, 1, False), (-1, 0, False)],
)
def test_the_bounds_of_a_lifetime(seconds: int, nanos: int, valid: bool) -> None:
    message = pb.ExchangeTokenRequest(subject_token="x", audience="a")
    message.lifetime.seconds, message.lifetime.nanos = seconds, nanos
    if valid:
        assert convert.exchange_request(message).lifetime == seconds
    else:
        with pytest.raises(InvalidRequest, match="lifetime"):
            convert.exchange_request(message)


@pytest.mark.parametrize(("count", "valid"), [(0, False), (1, True), (16, True), (17, False)])
def test_the_bounds_of_a_batch(count: int, valid: bool) -> None:
    message = pb.BatchExchangeTokensRequest(subject_token="x", targets=[pb.BatchExchangeTarget(audience="a")] * count)
    if valid:
        assert len(convert.batch_requests(message)) == count
    else:
        with pytest.raises(InvalidRequest, match="targets"):
            convert.batch_requests(message)


@given(st.floats(0, 4e9))
def test_timestamps_keep_the_microsecond(seconds: float) -> None:
    stamp = convert.timestamp(seconds)
    assert stamp is not None
    assert abs(stamp.seconds + stamp.nanos / 1e9 - seconds) < 2e-6


def test_a_whole_number_that_no_double_is_goes_as_its_text_wherever_it_is() -> None:
    big = 2**53 + 1
    found = structs.plain(structs.struct({"a": big, "b": [{"c": -big, "d": 2**53}], "e": True, "f": 10**30}))
    assert found == {"a": str(big), "b": [{"c": str(-big), "d": float(2**53)}], "e": True, "f": str(10**30)}
