"""URIs are compared in their normal form: RFC 3986 section 6.2, RFC 8707 section 2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.uri import MAX_URI, BadUri, normal_uri

PLAIN = "https://a.example/b/c?d=E"


@pytest.mark.parametrize(
    ("case", "one", "other"),
    [
        ("6.2.2.1 the scheme's case", "HTTPS://a.example/b", "https://a.example/b"),
        ("6.2.2.1 the host's case", "https://A.Example/b", "https://a.example/b"),
        ("6.2.2.1 the digits' case", "https://a.example/%3aB%3a", "https://a.example/%3AB%3A"),
        ("6.2.2.2 what needs no encoding", "https://a.example/%7Eb%2Dc", "https://a.example/~b-c"),
        ("6.2.2.3 dot segments", "https://a.example/x/./../b", "https://a.example/b"),
        ("6.2.2.3 dots that are encoded", "https://a.example/x/%2e%2E/b", "https://a.example/b"),
        ("6.2.2.3 beyond the root", "https://a.example/../../b", "https://a.example/b"),
        ("6.2.2.3 at the end", "https://a.example/b/x/..", "https://a.example/b/"),
        ("6.2.3 an empty path", "https://a.example", "https://a.example/"),
        ("6.2.3 an empty path before a query", "https://a.example?x", "https://a.example/?x"),
        ("6.2.3 the default port", "https://a.example:443/b", "https://a.example/b"),
        ("6.2.3 the default port of http", "http://a.example:80/b", "http://a.example/b"),
        ("6.2.3 an empty port", "https://a.example:/b", "https://a.example/b"),
        ("RFC 5952 an IPv6 address", "https://[2001:DB8:0::1]/b", "https://[2001:db8::1]/b"),
        ("the host of another scheme", "api://MCP/x", "api://mcp/x"),
        ("the scheme of a name", "URN:example:a", "urn:example:a"),
        ("6.2.2 a letter of another scheme's host that is encoded", "api://%4DCP/x", "api://mcp/x"),
        ("6.2.2.1 digits in such a host", "api://m%c3%BC/x", "api://M%C3%bc/x"),
    ],
)
def test_rfc_3986_section_6_2_equivalent_uris_have_one_form(case: str, one: str, other: str) -> None:
    assert normal_uri(one) == normal_uri(other), case


@pytest.mark.parametrize(
    ("case", "one", "other"),
    [
        ("another scheme", "http://a.example/b", "https://a.example/b"),
        ("another host", "https://a.example/b", "https://b.example/b"),
        ("another port", "https://a.example:444/b", "https://a.example/b"),
        ("a slash at the end", "https://a.example/b/", "https://a.example/b"),
        ("the path's case", "https://a.example/B", "https://a.example/b"),
        ("a slash that is encoded", "https://a.example/b%2Fc", "https://a.example/b/c"),
        ("another query", "https://a.example/b?c", "https://a.example/b"),
        ("the case of a name", "urn:example:A", "urn:example:a"),
        ("dots in a name without a root", "urn:example:a/../b", "urn:example:b"),
        ("the host as a path", "api:/mcp/x", "api://mcp/x"),
        ("a host that is empty", "api:////mcp/x", "api://mcp/x"),
    ],
)
def test_rfc_3986_other_uris_differ(case: str, one: str, other: str) -> None:
    assert normal_uri(one) != normal_uri(other), case


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("RFC 8707 2: a fragment", "https://a.example/b#c"),
        ("RFC 8707 2: an empty fragment", "https://a.example/b#"),
        ("relative", "/b"),
        ("relative, with an authority", "//a.example/b"),
        ("no scheme", "a.example"),
        ("a scheme that is a number", "1a:b"),
        ("nothing", ""),
        ("nothing after the scheme", "urn:"),
        ("no host", "https:///b"),
        ("no host at all", "https:b"),
        ("a user", "https://a.example@evil.example/"),
        ("a user of another scheme", "api://a@b/"),
        ("a backslash", "https://a.example\\@evil.example/"),
        ("white space", "https://a.example/b c"),
        ("a line break", "https://a.example/b\n"),
        ("beyond ASCII", "https://a.example/\u00e4"),
        ("a half of an encoding", "https://a.example/%2"),
        ("no encoding", "https://a.example/%zz"),
        ("a port that is none", "https://a.example:99999/"),
        ("an address in another spelling", "https://0x7f.1/"),
        ("RFC 3986 3.3: a path that would become a host", "api:/.//mcp/x"),
        ("RFC 3986 3.3: another", "api:/a/..//mcp/x"),
        ("RFC 3986 3.3: with encoded dots", "api:/%2E%2e//mcp/x"),
        ("too long", "https://a.example/" + "b" * MAX_URI),
    ],
)
def test_rfc_3986_section_4_3_what_is_no_absolute_uri(case: str, text: str) -> None:
    with pytest.raises(BadUri) as refused:
        normal_uri(text)
    assert not text or len(text) < 8 or text not in str(refused.value), case


PIECES = st.lists(
    st.sampled_from(["/", ".", "..", "%2e", "%2F", "%41", "%c3", "A", "b", ":", "?", "api:", "@"]), max_size=12
)


@given(
    st.text(max_size=40).map(lambda end: "https://a.example/" + end)
    | st.text(max_size=60)
    | PIECES.map(lambda pieces: "api:" + "".join(pieces))
)
def test_a_normal_form_stays_as_it_is(text: str) -> None:
    try:
        normal = normal_uri(text)
    except BadUri:
        return
    assert normal_uri(normal) == normal
    assert normal.isascii()
