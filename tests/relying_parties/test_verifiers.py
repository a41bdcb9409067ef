"""Our tokens before verifiers that nobody here wrote: go-spiffe, and the token authenticator of kube-apiserver."""

import pytest
from tests.relying_parties.conftest import DOMAIN, ISSUER, Served

BUNDLE = "/.well-known/spiffe-bundle.json"
CONFIGURATION = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: {issuer}
    audiences: [cluster]
  claimMappings:
    username: {{claim: sub, prefix: "tokenmint:"}}
    groups: {{claim: groups, prefix: "tokenmint:"}}
  claimValidationRules:
  - expression: "claims.exp - claims.iat <= 3600"
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
"""


def spiffe(
    served: Served, token: str, audience: str = "reports", domain: str = DOMAIN
) -> tuple[dict[str, object], str]:
    return served.judged("spiffe", token, BUNDLE, domain, audience)


def test_go_spiffe_fetches_the_bundle_and_verifies_a_jwt_svid(served: Served) -> None:
    answer, refused = spiffe(served, served.token("reports"))
    assert refused == ""
    assert answer["id"] == f"spiffe://{DOMAIN}/users/1842"
    assert answer["audience"] == ["reports"]
    assert answer["refresh_hint"] == 300
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


@pytest.mark.parametrize("audience", ["plain", "access", "cluster", "edwards"])
def test_rfc_8725_section_3_11_go_spiffe_refuses_our_other_tokens(served: Served, audience: str) -> None:
    assert spiffe(served, served.token(audience), audience)[1]


def kubernetes(served: Served, token: str, configuration: str = CONFIGURATION) -> tuple[dict[str, object], str]:
    (served.directory / "authentication.yaml").write_text(configuration.format(issuer=ISSUER))
    return served.judged("kubernetes", token, "authentication.yaml")


def test_kube_apiserver_authenticates_by_structured_configuration(served: Served) -> None:
    answer, refused = kubernetes(served, served.token("cluster", groups=["deployers"]))
    assert refused == ""
    assert str(answer["username"]).startswith("tokenmint:p_")
    assert answer["groups"] == ["tokenmint:deployers"]


@pytest.mark.parametrize("audience", ["plain", "access", "reports", "edwards"])
def test_kube_apiserver_refuses_tokens_for_others(served: Served, audience: str) -> None:
    assert kubernetes(served, served.token(audience))[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [("{issuer}", "http://tokens.example.com"), ("{issuer}", "https://other.example.com"), ("<= 3600", "<= 60")],
)
def test_kube_apiserver_refuses_another_configuration(served: Served, before: str, after: str) -> None:
    assert kubernetes(served, served.token("cluster"), CONFIGURATION.replace(before, after))[1]
