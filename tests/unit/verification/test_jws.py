"""Parsing of compact JWS: what two parsers could read differently is refused (RFC 7515, RFC 8725, RFC 7493)."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import Issuer, b64, segment

from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.secret import Secret
from tokenmint.verification import jws
from tokenmint.verification.jws import MAX_DEPTH, MAX_TOKEN, decode_segment, parse_compact, parse_object
from tokenmint.verification.not_compact import ENCRYPTED, LOAD_BALANCER, NOT_ONE, OPAQUE, why_not_compact

HEADER = segment({"alg": "RS256", "kid": "k1"})
PAYLOAD = segment({"iss": "i", "sub": "s"})


def parse(text: str | bytes) -> object:
    return parse_compact(Secret(text))


def raw(payload: str) -> str:
    return f"{HEADER}.{b64(payload.encode('utf-8', 'surrogatepass'))}.AA"


def header(members: str) -> str:
    return f"{b64(members.encode())}.{PAYLOAD}.AA"


def test_a_token_is_taken_apart() -> None:
    token = Issuer().token(1_800_000_000)
    parsed = parse_compact(Secret(token))
    assert (parsed.algorithm, parsed.key_id, parsed.issuer) == ("RS256", "k1", "https://idp.example")
    assert parsed.signing_input.decode() == token.rpartition(".")[0]
    assert parsed.claims["sub"] == "1842"
    assert "1842" not in repr(parsed)


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("empty", ""),
        ("one part", "abc"),
        ("two parts", f"{HEADER}.{PAYLOAD}"),
        ("RFC 7516 JWE, five parts", f"{HEADER}.{PAYLOAD}.AA.AA.AA"),
        ("dot flood", "." * 4000),
        ("RFC 7515 section 7.2 JSON serialisation", '{"payload":"","signatures":[]}'),
        ("leading space", f" {HEADER}.{PAYLOAD}.AA"),
        ("trailing newline", f"{HEADER}.{PAYLOAD}.AA\n"),
        ("trailing NUL", f"{HEADER}.{PAYLOAD}.AA\0"),
        ("padding", f"{HEADER}.{PAYLOAD}.AA=="),
        ("standard alphabet", f"{HEADER}.{PAYLOAD}.A+/A"),
        ("white space inside", f"{HEADER}.{PAYLOAD}.A A"),
        ("not ASCII", f"{HEADER}.{PAYLOAD}.ÄÄ"),
        ("one stray character", f"{HEADER}.{PAYLOAD}.AAAAA"),
        ("non-canonical trailing bits", f"{HEADER}.{PAYLOAD}.AB"),
        ("empty header", f".{PAYLOAD}.AA"),
        ("empty payload", f"{HEADER}..AA"),
        ("16 KiB and a byte", "A" * (MAX_TOKEN + 1)),
        ("header is a list", header("[]")),
        ("header is not JSON", header("{alg}")),
        ("no alg", header("{}")),
        ("alg is a number", header('{"alg":1}')),
        ("alg is a list", header('{"alg":["RS256"]}')),
        ("RFC 7515 section 4.1.11 crit", header('{"alg":"RS256","crit":["exp"]}')),
        ("RFC 7515 section 4.1.11 empty crit", header('{"alg":"RS256","crit":[]}')),
        ("RFC 7797 b64", header('{"alg":"RS256","b64":false}')),
        ("kid is a number", header('{"alg":"RS256","kid":1}')),
        ("kid of 129 characters", header(json.dumps({"alg": "RS256", "kid": "k" * 129}))),
        ("kid with a control character", header('{"alg":"RS256","kid":"a\\u0000b"}')),
        ("kid with a C1 control character", header('{"alg":"RS256","kid":"a\\u009bb"}')),
        ("kid with a line separator", header('{"alg":"RS256","kid":"a\\u2028b"}')),
        ("typ is a number", header('{"alg":"RS256","typ":1}')),
        ("alg twice", header('{"alg":"none","alg":"RS256"}')),
        ("sub twice", raw('{"sub":"a","sub":"b"}')),
        ("a name twice, deep inside", raw('{"a":{"b":1,"b":2}}')),
        ("NaN", raw('{"exp":NaN}')),
        ("Infinity", raw('{"exp":Infinity}')),
        ("minus Infinity", raw('{"exp":-Infinity}')),
        ("1e400", raw('{"exp":1e400}')),
        ("1e400, written out", raw('{"exp":1' + "0" * 400 + "}")),
        ("the same below zero, deep inside", raw('{"a":[{"b":-1' + "0" * 400 + "}]}")),
        ("the same in the header", header('{"alg":"RS256","x":1' + "0" * 400 + "}")),
        ("the first beyond doubles", raw('{"exp":' + str(2**1024 - 2**970) + "}")),
        ("5000 digits", raw('{"exp":' + "9" * 5000 + "}")),
        ("lone surrogate", raw('{"sub":"\\ud800"}')),
        ("not UTF-8", f"{HEADER}.{b64(bytes([123, 34, 255, 34, 58, 49, 125]))}.AA"),
        ("byte order mark", raw('\ufeff{"sub":"a"}')),
        ("trailing bytes", raw('{"sub":"a"}x')),
        ("two documents", raw("{}{}")),
        ("payload is a string", raw('"x"')),
        ("iss is a number", raw('{"iss":1}')),
        ("iss is a list", raw('{"iss":["a"]}')),
        ("deep", raw('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")),
        ("deep enough to exhaust a recursive parser", raw('{"a":' + "[" * 5000 + "]" * 5000 + "}")),
    ],
)
def test_refused(name: str, token: str) -> None:
    with pytest.raises(MalformedToken) as refused:
        parse(token)
    assert "RS256" not in refused.value.message, name


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("as deep as allowed", '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"),
        ("brackets in strings do not nest", '{"a":"' + "[" * 100 + '\\"{"}'),
        ("many siblings", '{"a":[' + ",".join(["[]"] * 40) + "]}"),
        ("a pair of surrogates is a character", '{"sub":"\\ud83d\\ude00"}'),
    ],
)
def test_accepted(name: str, payload: str) -> None:
    assert parse(raw(payload)), name


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t"])
def test_keys_in_the_header_are_neither_used_nor_in_the_way(name: str) -> None:
    assert parse(header(json.dumps({"alg": "RS256", name: "https://evil.example/jwks"})))


def test_more_than_16_kib_are_refused_before_anything_is_decoded() -> None:
    whole = f"{HEADER}.{PAYLOAD}.{'A' * MAX_TOKEN}"
    for token in (whole, "." * (MAX_TOKEN + 1), "\0" * (MAX_TOKEN + 1)):
        with pytest.raises(MalformedToken, match="longer than"):
            parse(token)


def test_exactly_16_kib_are_parsed() -> None:
    signature = "A" * (MAX_TOKEN - len(HEADER) - len(PAYLOAD) - 2)
    signature = signature[: len(signature) - len(signature) % 4]
    assert parse(f"{HEADER}.{PAYLOAD}.{signature}")


@given(st.binary(max_size=200))
def test_base64url_reads_what_it_writes_and_nothing_else(data: bytes) -> None:
    assert decode_segment(b64(data).encode(), "x") == data


@given(st.text(alphabet="ABCDab_-=+/ .\n", max_size=12))
def test_every_accepted_segment_has_one_spelling(text: str) -> None:
    try:
        decoded = decode_segment(text.encode(), "x")
    except MalformedToken:
        return
    assert b64(decoded) == text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_every_object_that_json_writes_is_read_as_it_was(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=False).encode(), "x") == value


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(MalformedToken):
        parse(data)


MEMBERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def outcome(text: bytes) -> object:
    try:
        return repr(jws._parse_any(text, "payload"))  # a text: 1, 1.0 and True are not the same
    except MalformedToken:
        return None


@given(
    st.builds(
        lambda value, indent, ascii_only: json.dumps(
            value, indent=indent, ensure_ascii=ascii_only, separators=None if indent else (",", ":")
        ).encode("utf-8", "surrogatepass"),
        MEMBERS,
        st.sampled_from([None, 1]),
        st.booleans(),
    )
    | st.binary(max_size=40)
)
def test_rfc_7493_the_fast_way_reads_what_the_strict_one_reads_or_leaves_it_alone(text: bytes) -> None:
    fast = jws._parse_canonical(text)
    assert fast is None or repr(fast) == outcome(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1e400}',
        b'{"a":NaN}',
        b'{"a":123456789012345678901234567890}',
        b'{"a":"\\ud800"}',
        b'{"a":-0}',
        b'{"a" :1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_rfc_7493_what_can_be_read_in_two_ways_is_not_read_the_fast_one(text: bytes) -> None:
    assert jws._parse_canonical(text) is None


def test_a_token_as_providers_write_it_is_read_the_fast_way() -> None:
    text = json.dumps(Issuer().claims(1_800_000_000), separators=(",", ":")).encode()
    assert jws._parse_canonical(text) == json.loads(text)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("ya29.a0ARrdaM-abcdefghijk", "opaque"),
        ("Kb1Xv7sEJd2nTq0aPz3mWc5yRf8uLg6h", "opaque"),
        (f"{HEADER}..AA.AA.AA", "encrypted"),
        (
            f"{segment({'alg': 'ES256', 'signer': 'arn:aws:elasticloadbalancing:eu-west-1:1:x'})}==.e30=.AA==",
            "amzn-oidc",
        ),
    ],
)
def test_what_is_no_jws_is_named_without_repeating_it(token: str, words: str) -> None:
    with pytest.raises(MalformedToken) as refused:
        parse_compact(Secret(token))
    assert words in refused.value.message
    assert not any(part in refused.value.message for part in token.split(".") if len(part) > 3)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (f'"{HEADER}.{PAYLOAD}.AA"', "in quotes"),
        (f"'{HEADER}.{PAYLOAD}.AA'", "in quotes"),
        (f"Bearer {HEADER}.{PAYLOAD}.AA", "the scheme of a header"),
        (f"dpop {HEADER}.{PAYLOAD}.AA", "the scheme of a header"),
        (f'{{"id_token": "{HEADER}.{PAYLOAD}.AA"}}', "such as the text of id_token"),
        ('{"payload":"","signatures":[]}', "in the compact serialisation"),
    ],
)
def test_a_token_with_more_around_it_is_named_for_operators(raw: str, words: str) -> None:
    message, detail = why_not_compact(raw.encode())
    assert message == NOT_ONE
    assert words in detail


@given(st.binary(max_size=300))
def test_any_text_that_is_no_jws_gets_one_of_the_known_explanations(raw: bytes) -> None:
    message, detail = why_not_compact(raw)
    assert message in {NOT_ONE, OPAQUE, ENCRYPTED, LOAD_BALANCER}
    assert detail.isascii()
