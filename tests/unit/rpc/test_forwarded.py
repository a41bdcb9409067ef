"""`x-forwarded-client-cert`: one element in Envoy's format is read, and nothing else."""

import base64
import hashlib
import ssl
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.tls import PROXY, authority, element, forwarded

from tokenmint.base.errors import CallerUnauthenticated
from tokenmint.model.secret import Secret
from tokenmint.rpc.forwarded import MAX_LENGTH, ForwardedCertificates, forwarded_certificate

SPIFFE = "spiffe://td.example/web"
PEM = authority().issue("web", SPIFFE, "Web.example")[0]
OTHER = authority().issue("other", "spiffe://td.example/other")[0]
DER = x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER)
HASH, CERT = element(PEM).split(";")
OTHERS_HASH, OTHERS_CERT = element(OTHER).split(";")
PARTS = {
    "HASH": HASH, "CERT": CERT, "OTHERS_CERT": OTHERS_CERT, "LOWER": CERT.lower(), "ZEROS": "0" * 64,
    "BARE": quote(base64.b64encode(DER).decode(), safe=""), "CHAIN": quote((PEM + OTHER).decode(), safe=""),
    "LONG": "a" * MAX_LENGTH,
}  # fmt: skip
OURS = ForwardedCertificates((PROXY.fingerprint(),))


def filled(text: str) -> str:
    """A text with these certificates, which are others each time, in the place of their names."""
    return text.format(**PARTS)


def refusal(text: str) -> str:
    with pytest.raises(ValueError) as refused:
        forwarded_certificate(text)
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "{HASH};{CERT}",
        "By=spiffe://td.example/proxy;{HASH};{CERT}",
        'By=spiffe://td.example/proxy;By=https://a;{HASH};{CERT};Subject="CN=a\\, \\"b\\"";URI=;DNS=a;DNS=b',
        '{HASH};{CERT};Chain="{CHAIN}";URI=https://a.example/?b=c',
    ],
)
def test_the_names_and_the_thumbprint_are_those_of_the_certificate(text: str) -> None:
    known = forwarded_certificate(filled(text))
    assert known.identities == ("subject:CN=web", SPIFFE, "dns:web.example")
    assert known.thumbprint == base64.urlsafe_b64encode(hashlib.sha256(DER).digest()).rstrip(b"=").decode()


def test_a_certificate_without_names_has_its_subject_alone() -> None:
    assert forwarded_certificate(element(authority().issue("x")[0])).identities == ("subject:CN=x",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "more than one element"),
        ("{HASH};{CERT},{HASH};{CERT}", "more than one element"),
        ("{HASH};{CERT},", "more than one element"),
        ("{HASH};{CERT};", "more than one element"),
        (";{HASH};{CERT}", "more than one element"),
        ('{HASH};Cert="a', "more than one element"),
        ('{HASH};{CERT}"', "more than one element"),
        ("{HASH}; {CERT}", "more than one element"),
        ("{HASH};{CERT};URI=https://a.example/,By=b", "more than one element"),
        ("{HASH};{CERT}\x00", "printable"),
        ("{HASH};{CERT};URI=https://\u00e4.example", "printable"),
        ("{HASH};{CERT};Url=a", "a key that Envoy does not write"),
        ("{HASH};{LOWER}", "a key that Envoy does not write"),
        (
            "{HASH};URI=spiffe://td.example/web;DNS=web.example",
            "expected Cert once",
        ),  # what Envoy says without `cert: true`
        ("{CERT}", "expected Hash once"),
        ("{HASH};{HASH};{CERT}", "expected Hash once"),
        ("{HASH};{CERT};{CERT}", "expected Cert once"),
        ("{HASH};{CERT};{OTHERS_CERT}", "expected Cert once"),
        ("{HASH};{OTHERS_CERT}", "Hash does not match Cert"),
        ("Hash={ZEROS};{CERT}", "Hash does not match Cert"),
        ("Hash=;{CERT}", "Hash does not match Cert"),
        ('{HASH};Cert=""', "not a URL-encoded certificate in PEM"),
        ('{HASH};Cert="{BARE}"', "not a URL-encoded certificate in PEM"),
        ('{HASH};Cert="{CHAIN}"', "not a URL-encoded certificate in PEM"),
        ("{HASH};{CERT};URI={LONG}", f"longer than {MAX_LENGTH} bytes"),
    ],
)
def test_what_is_not_one_element_with_one_certificate_is_refused(text: str, why: str) -> None:
    assert why in refusal(filled(text))


def test_what_is_no_x509_is_refused() -> None:
    body = b"0\x03\x02\x01\x01"
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(body).decode()}\n-----END CERTIFICATE-----\n"
    told = refusal(f'Hash={hashlib.sha256(body).hexdigest()};Cert="{quote(pem, safe="")}"')
    assert told == "Cert can't be read as X.509"


def test_names_that_spell_more_of_the_header_bring_no_certificate_along() -> None:
    """Envoy writes URI and DNS as they stand: the holder of such a name writes a part of the header."""
    for name in (
        f"https://mallory.example/;{CERT}",
        f"https://mallory.example/;{HASH};{CERT}",
        f"https://mallory.example/,{HASH};{CERT}",
        f'https://mallory.example/;Subject="{HASH};{CERT}"',
    ):
        assert refusal(f"{OTHERS_HASH};URI={name}")  # without `cert: true`
        told = refusal(f"{OTHERS_HASH};{OTHERS_CERT};URI={name}")
        assert told
    known = forwarded_certificate(
        f"{OTHERS_HASH};{OTHERS_CERT};URI=https://mallory.example/;DNS=web.example;URI={SPIFFE}"
    )
    assert known.identities == ("subject:CN=other", "spiffe://td.example/other")


@given(
    st.text(max_size=200)
    | st.text(st.sampled_from('HashCertURIBy=;,"\\ %0a'), max_size=60).map(lambda t: f"{HASH};{t}")
)
def test_any_text_is_refused_or_holds_the_certificate_of_its_hash(text: str) -> None:
    for tried in (text, f"{HASH};{CERT}{text}", f"{text}{HASH};{CERT}"):
        try:
            known = forwarded_certificate(tried)
        except ValueError:
            continue
        assert known == forwarded_certificate(f"{HASH};{CERT}")


@given(st.lists(st.tuples(st.sampled_from(["By", "URI", "DNS", "Subject"]), st.text(max_size=30)), max_size=5))
def test_what_envoy_quotes_is_one_value_whatever_is_in_it(pairs: list[tuple[str, str]]) -> None:
    quoted = [f'{key}="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for key, value in pairs]
    text = ";".join([HASH, *quoted, CERT])
    if all(character in map(chr, range(0x20, 0x7F)) for _, value in pairs for character in value):
        assert SPIFFE in forwarded_certificate(text).identities
    else:
        assert "printable" in refusal(text)


# --- whose word it is -----------------------------------------------------------------------------------------------

XFCC, SHOWN = forwarded(PEM)


def test_the_proxys_word_is_taken() -> None:
    known = OURS((XFCC, SHOWN), {})
    assert known is not None
    assert SPIFFE in known.identities
    assert OURS((SHOWN,), {}) is None  # a client without a certificate
    assert OURS((), {}) is None  # a client on this host
    both = ForwardedCertificates((Secret("tms_next").fingerprint(), PROXY.fingerprint()))
    assert both((XFCC, SHOWN), {}) == known  # while its secret rolls over


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ((XFCC,), "without tokenmint-proxy-secret"),
        ((XFCC, (SHOWN[0], "tms_wrong")), "not one of listen.forwarded.secrets"),
        ((XFCC, (SHOWN[0], "")), "not one of listen.forwarded.secrets"),
        ((XFCC, (SHOWN[0], "-")), "not one of listen.forwarded.secrets"),
        ((XFCC, (SHOWN[0], PROXY.fingerprint())), "not one of listen.forwarded.secrets"),
        (((SHOWN[0], "tms_wrong"),), "not one of listen.forwarded.secrets"),
        ((XFCC, XFCC, SHOWN), "x-forwarded-client-cert was sent twice"),
        ((XFCC, SHOWN, SHOWN), "tokenmint-proxy-secret was sent twice"),
        ((XFCC, (SHOWN[0], "tms_wrong"), SHOWN), "tokenmint-proxy-secret was sent twice"),
        (((XFCC[0], ""), SHOWN), "more than one element"),
        (((XFCC[0], f"{XFCC[1]},{XFCC[1]}"), SHOWN), "more than one element"),
    ],
)
def test_nobody_elses_is(metadata: tuple[tuple[str, str], ...], why: str) -> None:
    with pytest.raises(CallerUnauthenticated) as refused:
        OURS(metadata, {})
    assert why in refused.value.detail
    assert PROXY.reveal() not in refused.value.detail
    with pytest.raises(CallerUnauthenticated):
        ForwardedCertificates(())((XFCC, SHOWN), {})


def test_the_proxys_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("tokenmint.admission.callers.hmac.compare_digest", compare)
    hashes = (PROXY.fingerprint(), Secret("tms_next").fingerprint())
    assert ForwardedCertificates(hashes)((SHOWN,), {}) is None
    assert tuple(compared) == hashes


def test_a_certificate_of_a_version_that_nobody_issues_is_refused() -> None:
    der = ssl.PEM_cert_to_DER_cert(authority().issue("x", "y")[0].decode())
    second = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1)
    assert second != der
    pem = quote(ssl.DER_cert_to_PEM_cert(second), safe="")
    with pytest.raises(ValueError, match=r"can't be read as X\.509"):
        forwarded_certificate(f'Hash={hashlib.sha256(second).hexdigest()};Cert="{pem}"')
