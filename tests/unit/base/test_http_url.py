"""URLs that are fetched: what is taken, and that everything else is a mistake with words and never a fault."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenmint.base.http_url import MAX_LENGTH, BadUrl, HttpUrl, same_url


@pytest.mark.parametrize(
    ("text", "origin", "target", "again"),
    [
        ("https://idp.example/jwks", ("https", "idp.example", 443), "/jwks", "https://idp.example/jwks"),
        ("https://IDP.example", ("https", "idp.example", 443), "/", "https://idp.example/"),
        ("https://idp.example:443/?a=b#c", ("https", "idp.example", 443), "/?a=b", "https://idp.example/?a=b"),
        ("https://idp.example.:8443/x", ("https", "idp.example.", 8443), "/x", "https://idp.example.:8443/x"),
        ("http://127.0.0.1:1/", ("http", "127.0.0.1", 1), "/", "http://127.0.0.1:1/"),
        ("https://[2001:DB8::1]:65535/", ("https", "2001:db8::1", 65535), "/", "https://[2001:db8::1]:65535/"),
        ("https://[::1]", ("https", "::1", 443), "/", "https://[::1]/"),
        ("https://a_b.example/%7e", ("https", "a_b.example", 443), "/%7e", "https://a_b.example/%7e"),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443), "/", "https://xn--bcher-kva.example/"),
        (f"https://{'a' * 63}.example/", ("https", f"{'a' * 63}.example", 443), "/", f"https://{'a' * 63}.example/"),
    ],
)  # fmt: skip
def test_urls_that_are_fetched(text: str, origin: tuple[str, str, int], target: str, again: str) -> None:
    url = HttpUrl.parse(text)
    assert (url.origin, url.target, str(url)) == (origin, target, again)
    assert HttpUrl.parse(again) == url


BAD = [
    ("http://[::1", "brackets"),
    ("https://::1]/", "brackets"),
    ("https://[::1]x/", "IPv6|brackets"),
    ("https://[::1%25lo]/", "IPv6|brackets"),
    ("https://[fe80::1%lo]/", "IPv6|brackets"),
    ("https://[v1.x]/", "brackets"),
    ("https://idp.example:99999/", "port"),
    ("https://idp.example:0/", "port"),
    ("https://idp.example:-1/", "port"),
    ("https://idp.example:4 43/", "character"),
    ("https://idp.example:8x/", "port"),
    ("https://idp.example:80:80/", "port"),
    ("https://[::1]:99999/", "port"),
    ("https://u:p@idp.example/", "user"),
    ("https://@idp.example/", "user"),
    ("https://idp.example@evil.example/", "user"),
    ("https://a..b/", "host"),
    ("https://2130706433/", "IPv4"),
    ("https://127.1/", "IPv4"),
    ("https://0177.0.0.1/", "IPv4"),
    ("https://0x7f.0.0.0x1/", "IPv4"),
    ("https://127.0.0.1./", "IPv4"),
    ("https://idp.0x/", "IPv4"),
    ("https://.b/", "host"),
    ("https://./", "host"),
    (f"https://{'a' * 64}.example/", "host"),
    (f"https://{'a.' * 127}example/", "host"),
    ("https://%61.example/", "host"),
    ("https:///x", "host"),
    ("https://:443/", "host"),
    ("https://bücher.example/", "ASCII"),
    ("https://idp.example/ü", "ASCII"),
    ("https://idp\uff0eexample/", "ASCII"),
    ("https://idp.example/\x00", "character"),
    ("https://idp.example/a\tb", "character"),
    ("ht\ntps://idp.example/", "character"),
    (" https://idp.example/", "character"),
    ("https://idp.example\\@evil.example/", "character"),
    ("https://idp.example/{x}", "character"),
    ("https:/idp.example/", "begins with https"),
    ("https:idp.example", "begins with https"),
    ("//idp.example/", "begins with https"),
    ("file:///etc/passwd", "begins with https"),
    ("", "begins with https"),
    ("https://idp.example/" + "x" * MAX_LENGTH, "longer"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_is_no_url_that_can_be_fetched(text: str, words: str) -> None:
    with pytest.raises(BadUrl, match=words) as refused:
        HttpUrl.parse(text)
    assert "evil" not in str(refused.value)  # nothing of it is repeated


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/x", "https://idp.example:8443/x"),
        ("x?y", "https://idp.example:8443/a/x?y"),
        ("../x", "https://idp.example:8443/x"),
        ("?y", "https://idp.example:8443/a/b?y"),
        ("//other.example/", "https://other.example/"),
        ("https://other.example:1/", "https://other.example:1/"),
    ],
)
def test_rfc_3986_section_5_references(reference: str, expected: str) -> None:
    assert str(HttpUrl.parse("https://idp.example:8443/a/b").join(reference)) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "", "http://[::1", "//[", "https://x.example:99999/", "/\x00", "/ü", "//u@idp.example/", "mailto:a@b", "\\\\x",
        "//a..b/", "/" + "x" * MAX_LENGTH, "ftp://idp.example/",
    ],
)  # fmt: skip
def test_references_that_lead_nowhere(reference: str) -> None:
    with pytest.raises(BadUrl):
        HttpUrl.parse("https://idp.example/").join(reference)


@given(st.one_of(st.text(), st.text(alphabet="htps:/[]@.%#?1a-\\", max_size=40).map("https://".__add__)))
@example("https://[::1")
@example("https://x:99999")
def test_any_text_is_a_url_that_reads_the_same_again_or_a_mistake(text: str) -> None:
    try:
        url = HttpUrl.parse(text)
        other = HttpUrl.parse("https://idp.example/a").join(text)
    except BadUrl:
        return
    assert HttpUrl.parse(str(url)) == url
    assert other.origin == url.origin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://x.example", "https://x.example/", True),
        ("https://x.example", "HTTPS://X.example:443", True),
        ("https://x.example/a", "https://x.example/a/", True),
        ("https://x.example/a", "https://x.example/A", False),
        ("https://x.example", "http://x.example", False),
        ("https://x.example", "https://x.example:8443", False),
        ("orders", "orders", True),
        ("orders", "https://orders", False),
    ],
)
def test_two_texts_that_name_the_same_place(one: str, other: str, same: bool) -> None:
    assert same_url(one, other) is same_url(other, one) is same


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://localhost./", True),
        ("http://a.localhost/", True),
        ("http://localhost.example/", False),
        ("http://10.0.0.1/", False),
        ("http://127.0.0.1.example/", False),
    ],
)
def test_what_only_this_machine_reaches(url: str, loopback: bool) -> None:
    assert HttpUrl.parse(url).is_loopback is loopback
