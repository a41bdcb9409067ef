"""Our tokens before verifiers that nobody here wrote: go-spiffe, and the token authenticator of kube-apiserver."""

import jwt
import pytest
from tests.guides import GUIDES
from tests.pages import texts
from tests.relying_parties.conftest import CLUSTER, DOMAIN, Served

BUNDLE = "/.well-known/spiffe-bundle.json"
[SHOWN] = [text for text in texts(GUIDES / "kubernetes-api.md", "sh") if text.startswith("cat > authentication.yaml")]
CONFIGURATION = "\n".join(SHOWN.splitlines()[1:-1]) + "\n"
"""The file that the guide shows."""


def spiffe(
    served: Served, token: str, audience: str = "reports", domain: str = DOMAIN
) -> tuple[dict[str, object], str]:
    return served.judged("spiffe", token, BUNDLE, domain, audience)


def test_go_spiffe_fetches_the_bundle_and_verifies_a_jwt_svid(served: Served) -> None:
    answer, refused = spiffe(served, served.token("reports"))
    assert refused == ""
    assert answer["id"] == f"spiffe://{DOMAIN}/users/1842"
    assert answer["audience"] == ["reports"]
    assert answer["refresh_hint"] == 20
    assert isinstance(answer["sequence"], int)
    assert answer["sequence"] > 0
    assert answer["keys"] == 4  # the active and the next one of ES256 and RS256; none of EdDSA


def test_go_spiffe_verifies_rs256_too(served: Served) -> None:
    answer, refused = spiffe(served, served.token("legacy-reports"), "legacy-reports")
    assert refused == ""
    assert str(answer["id"]).startswith(f"spiffe://{DOMAIN}/p_")


@pytest.mark.parametrize(
    ("audience", "for_audience", "domain"),
    [("reports", "orders", DOMAIN), ("reports", "reports", "other.example.com"), ("legacy-reports", "reports", DOMAIN)],
)
def test_go_spiffe_refuses_another_audience_and_another_trust_domain(
    served: Served, audience: str, for_audience: str, domain: str
) -> None:
    assert spiffe(served, served.token(audience), for_audience, domain)[1]


@pytest.mark.parametrize("audience", ["plain", "access", CLUSTER, "edwards"])
def test_rfc_8725_section_3_11_go_spiffe_refuses_our_other_tokens(served: Served, audience: str) -> None:
    assert spiffe(served, served.token(audience), audience)[1]


def kubernetes(served: Served, token: str, configuration: str = CONFIGURATION) -> tuple[dict[str, object], str]:
    (served.directory / "authentication.yaml").write_text(configuration)
    return served.judged("kubernetes", token, "authentication.yaml")


def test_kube_apiserver_authenticates_by_structured_configuration(served: Served) -> None:
    answer, refused = kubernetes(served, served.token(CLUSTER, groups=["deployers"]))
    assert refused == ""
    assert str(answer["username"]).startswith("tokenmint:p_")
    assert answer["groups"] == ["tokenmint:deployers"]


@pytest.mark.parametrize("audience", ["plain", "access", "reports", "edwards"])
def test_kube_apiserver_refuses_tokens_for_others(served: Served, audience: str) -> None:
    assert kubernetes(served, served.token(audience))[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("url: https://tokens", "url: http://tokens"),
        ("url: https://tokens", "url: https://others"),
        ("<= 3600", "<= 60"),
    ],
)
def test_kube_apiserver_refuses_another_configuration(served: Served, before: str, after: str) -> None:
    assert before in CONFIGURATION
    assert kubernetes(served, served.token(CLUSTER), CONFIGURATION.replace(before, after))[1]


def test_kube_apiserver_knows_the_next_key_and_goes_on_to_accept_a_revoked_one(served: Served) -> None:
    """Its guide says so: the next key was published before, and so leads to no fetch.

    It does not fetch before `max-age` has passed, less 30 s. Here that is at once.
    """
    (served.directory / "authentication.yaml").write_text(CONFIGURATION)
    old = served.token(CLUSTER)
    with served.verifier("kubernetes", "authentication.yaml") as verify:
        assert verify(old)[1] == ""
        served.revoke(jwt.get_unverified_header(old)["kid"])
        new = served.token(CLUSTER)
        assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
        assert verify(new)[1] == ""
        assert verify(old)[1] == ""
        served.revoke(jwt.get_unverified_header(new)["kid"])
        assert verify(served.token(CLUSTER))[1] == ""  # a key that it did not know: it fetches
        assert verify(old)[1] != ""
        assert verify(new)[1] != ""
    assert kubernetes(served, old)[1]
