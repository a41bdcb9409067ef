"""DPoP proofs at a protected resource (RFC 9449), and its metadata (RFC 9728): the parts that need no server.

The table of proofs that all languages play is in tests/clients/verifiers.json.
"""

import ssl
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clients import minter
from tests.issuer import jwk, rsa_key
from tests.tls import authority

from tokenmint_client import (
    ProtectedResource,
    ReplayMemoryFull,
    RequestProof,
    TokenRejected,
    VerifiedToken,
)
from tokenmint_client.asgi import certificate_of
from tokenmint_client.claims import header_of
from tokenmint_client.dpop import MAX_AGE, Nonces, Proof, ReplayMemory, normal_url, read_proof

NOW: Final = 1_800_000_000.0
URL: Final = "https://api.example/mcp"
SERVERS: Final = ["https://login.example"]


def proved(name: str, expires_at: float = NOW + MAX_AGE) -> Proof:
    return Proof("t", "", name.encode(), expires_at)


def token(**confirmation: object) -> VerifiedToken:
    return VerifiedToken("ada", "", frozenset(), NOW + 600, {}, confirmation=confirmation)


# --- the replay memory ------------------------------------------------------------------------------------------------


def test_rfc9449_section_11_1_a_full_memory_refuses_and_forgets_nothing_that_could_be_replayed() -> None:
    memory = ReplayMemory(2)
    memory.use(proved("a"), NOW)
    memory.use(proved("b", NOW + 10), NOW)
    with pytest.raises(ReplayMemoryFull):
        memory.use(proved("c"), NOW)
    for known in ("a", "b"):
        with pytest.raises(TokenRejected, match="used before"):
            memory.use(proved(known), NOW)
    memory.use(proved("c", NOW + 200), NOW + MAX_AGE)  # the two are too old by now
    memory.use(proved("a", NOW + 200), NOW + MAX_AGE)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60), st.integers(1, 5))
def test_in_any_history_no_proof_is_used_twice_and_the_memory_keeps_its_bound(
    steps: list[tuple[int, int]], size: int
) -> None:
    memory, now, used = ReplayMemory(size), NOW, dict[int, float]()
    for name, later in steps:
        now += later
        try:
            memory.use(proved(str(name), now + MAX_AGE), now)
        except TokenRejected:
            assert now < used[name]
        except ReplayMemoryFull:
            assert sum(now < expires_at for expires_at in used.values()) >= 1
        else:
            assert now >= used.get(name, 0)
            used[name] = now + MAX_AGE
        assert len(memory._used) <= size


# --- proofs -----------------------------------------------------------------------------------------------------------


def judged(proof: str) -> str:
    """Return the reason why a proof is refused, or an empty text. Any other error is a fault."""
    try:
        read_proof(proof, method="GET", url=URL, token="token", now=NOW)
    except TokenRejected as error:
        return error.reason
    return ""


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_in_the_place_of_a_proof_is_refused(text: str) -> None:
    assert judged(text) == "PROOF_REJECTED"


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["jti", "htm", "htu", "iat", "ath"]), JSON)
def test_any_value_of_a_claim_is_judged_without_another_error(name: str, value: Any) -> None:
    assert judged(minter.proof({name: value}, URL, "token", NOW)) in ("PROOF_REJECTED", "")
    assert judged(minter.proof({name: [value]}, URL, "token", NOW)) == "PROOF_REJECTED"


@given(st.sampled_from(["typ", "alg", "jwk"]), JSON)
def test_any_value_of_a_header_is_refused_without_another_error(name: str, value: Any) -> None:
    assert judged(minter.proof({"headers": {name: value}}, URL, "token", NOW)) == "PROOF_REJECTED"


def test_a_small_rsa_key_is_refused() -> None:
    member = {name: jwk(rsa_key(9, 1024))[name] for name in ("kty", "n", "e")}
    assert judged(minter.proof({"headers": {"alg": "RS256", "jwk": member}}, URL, "token", NOW)) == "PROOF_REJECTED"


NORMAL: Final = {
    "HTTPS://API.example:443": "https://api.example/",
    "https://api.example/a/./b/../c?d#e": "https://api.example/a/c",
    "https://api.example/%7Ea%2fb": "https://api.example/~a%2Fb",
    "http://[::1]:80/": "http://[::1]/",
}
NO_URL: Final = [
    "api.example", "ftp://api.example/", "https://", "https:///a", "https://user@api.example/", "https://a b/",
    "https://api.example\\a", "https://api.example@evil.example/mcp", "https://é.example/", "https://a\n/", None, 7,
]  # fmt: skip


@pytest.mark.parametrize(("url", "normal"), NORMAL.items())
def test_rfc3986_section_6_2_urls_are_compared_in_their_normal_form(url: str, normal: str) -> None:
    assert normal_url(url) == normal_url(normal) is not None


@pytest.mark.parametrize("url", NO_URL)
def test_texts_that_are_no_http_url_equal_nothing(url: object) -> None:
    assert normal_url(url) is None


# --- nonces -----------------------------------------------------------------------------------------------------------


def test_rfc9449_section_9_nonces_are_those_of_this_key_and_of_this_time() -> None:
    nonces, others = Nonces(b"k" * 32), Nonces(b"o" * 32)
    made = nonces.new(NOW)
    assert nonces.accepts(made, NOW)
    assert nonces.accepts(made, NOW + 299)
    assert not nonces.accepts(made, NOW + 300)
    assert not nonces.accepts(made, NOW - 11)
    assert not others.accepts(made, NOW)
    with pytest.raises(ValueError, match="32 bytes"):
        Nonces(b"short")


@given(st.text(max_size=64))
def test_any_text_is_no_nonce(text: str) -> None:
    assert not Nonces(b"k" * 32).accepts(text, NOW)


# --- resources --------------------------------------------------------------------------------------------------------

PATHS: Final = {
    "https://api.example": "/.well-known/oauth-protected-resource",
    "https://api.example/": "/.well-known/oauth-protected-resource",
    "https://api.example/mcp": "/.well-known/oauth-protected-resource/mcp",
    "https://api.example/a/b/": "/.well-known/oauth-protected-resource/a/b/",
    "http://127.0.0.1:8000/mcp": "/.well-known/oauth-protected-resource/mcp",
}


@pytest.mark.parametrize(("resource", "path"), PATHS.items())
def test_rfc9728_section_3_1_the_path_goes_behind_the_well_known_one(resource: str, path: str) -> None:
    made = ProtectedResource(resource, SERVERS)
    assert made.metadata_path == path
    assert made.metadata_url == "/".join(resource.split("/")[:3]) + path
    assert made.metadata()["resource"] == resource


@pytest.mark.parametrize(
    "resource",
    ["http://api.example", "https://api.example/?a", "https://api.example/#a", "https://u@api.example", "api", "",
     "http://127.0.0.1.example/"],
)  # fmt: skip
def test_rfc9728_section_1_2_a_resource_is_an_https_url_without_query_and_fragment(resource: str) -> None:
    with pytest.raises(ValueError, match="resource: "):
        ProtectedResource(resource, SERVERS)


def test_options_that_do_not_fit_are_refused_and_no_secret_is_printed() -> None:
    with pytest.raises(ValueError, match="authorization_servers"):
        ProtectedResource(URL, "https://login.example")
    with pytest.raises(ValueError, match="require_dpop"):
        ProtectedResource(URL, SERVERS, dpop=False, require_dpop=True)
    with pytest.raises(ValueError, match="replay_memory"):
        ProtectedResource(URL, SERVERS, replay_memory=0)
    assert "hunter2" not in repr(ProtectedResource(URL, SERVERS, nonce_key=b"hunter2" * 8))


def test_rfc8705_section_3_a_token_is_bound_to_the_certificate_of_the_connection() -> None:
    own, other = (ssl.PEM_cert_to_DER_cert(authority().issue(name)[0].decode()) for name in ("own", "other"))
    resource = ProtectedResource(URL, SERVERS, certificates=True)
    bound = token(**{"x5t#S256": minter.digest(own)})

    def check(certificate: bytes | None) -> None:
        RequestProof(resource, False, "GET", "/mcp", (), certificate).check("sent", bound, NOW)

    check(own)
    for wrong in (other, None):
        with pytest.raises(TokenRejected, match="another certificate"):
            check(wrong)
    assert resource.metadata()["tls_client_certificate_bound_access_tokens"] is True


def test_asgi_tells_the_certificate_by_its_tls_extension() -> None:
    pem = authority().issue("client")[0].decode()
    scope: dict[str, Any] = {"extensions": {"tls": {"client_cert_chain": [pem]}}}
    assert certificate_of(scope) == ssl.PEM_cert_to_DER_cert(pem)
    without: list[dict[str, Any]] = [{}, {"extensions": {}}, {"extensions": {"tls": {"client_cert_chain": []}}}]
    assert [certificate_of(one) for one in without] == [None] * 3


def test_a_resource_without_dpop_refuses_bound_tokens() -> None:
    resource = ProtectedResource(URL, SERVERS, dpop=False)
    assert "dpop_signing_alg_values_supported" not in resource.metadata()
    with pytest.raises(TokenRejected, match="not checked here"):
        RequestProof(resource, False, "GET", "/mcp", ()).check("sent", token(jkt="x"), NOW)


@given(st.text(max_size=100))
def test_any_text_is_a_header_or_none(text: str) -> None:
    assert header_of(text) is None or isinstance(header_of(text), dict)
