"""The decision, and the claim mapping."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.base.errors import (
    AudienceDenied,
    ConditionDenied,
    ConfigurationError,
    FormatDenied,
    LifetimeDenied,
    ProviderDenied,
    ScopeDenied,
)
from tokenmint.formats import jwt
from tokenmint.model.policy import ActorRules, Audience, Client, ExchangeRequest
from tokenmint.model.profile import Profile
from tokenmint.model.reserved_claims import RESERVED_CLAIMS
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT, VerifiedToken
from tokenmint.policy import mapping
from tokenmint.policy.grant import Policy

NOW = 1_800_000_000.9
CLIENT = Client("web")
AUDIENCE = Audience(
    "https://api",
    clients=frozenset({"web"}),
    providers=frozenset({"idp"}),
    format=jwt.FORMAT.traits,
    scopes=frozenset({"b", "a"}),
    lifetime=600,
)
ASSERTION = VerifiedToken(
    provider="idp", issuer="https://idp", subject="1", token_type=ID_TOKEN,
    claims=MappingProxyType({"email": "a@x", "address": {"city": "Turin"}, "https://x.example/r": ["q"], "zero": 0}),
    issued_at=NOW, expires_at=NOW + 300, fingerprint="f", replay_id="r", single_use=False,
)  # fmt: skip
PROFILE = Profile("ada", claims={"tenant": "t", "deep": {"er": 1}}, roles=("clerk",))


def ask(**fields: Any) -> ExchangeRequest:
    return ExchangeRequest(Secret("x"), **{"audience": "https://api", **fields})


def policy(**changes: Any) -> Policy:
    return Policy({"https://api": replace(AUDIENCE, **changes)}, "https://me")


def decide(request: ExchangeRequest, client: Client = CLIENT, **changes: Any) -> Any:
    rules = policy(**changes)
    audience = rules.admit(client, request)
    rules.admit_subject(audience, ASSERTION, client, request)
    return rules.decide(request, client, audience, ASSERTION, PROFILE, now=NOW)


def test_by_default_everything_that_the_client_may_have() -> None:
    grant = decide(ask())
    assert (grant.principal, grant.audience, grant.client_id, grant.scopes) == ("ada", "https://api", "web", ("a", "b"))
    assert (grant.issued_at, grant.expires_at) == (1_800_000_000, 1_800_000_600)
    assert (grant.token_type, grant.format.header_type) == (ACCESS_TOKEN, "at+jwt")


def test_who_and_for_whom() -> None:
    for client, request in [(Client("other"), ask()), (CLIENT, ask(audience="https://x")), (CLIENT, ask(audience=""))]:
        with pytest.raises(AudienceDenied) as refused:
            policy().admit(client, request)
        assert refused.value.message == AudienceDenied.summary  # the same, whether there is such an audience or not
    assert policy().admit(Client("anyone", anonymous=True), ask())
    with pytest.raises(ProviderDenied):
        policy().admit_subject(AUDIENCE, replace(ASSERTION, provider="other"), CLIENT, ask())


@pytest.mark.parametrize(
    ("client_scopes", "asked", "granted"),
    [
        (None, (), ("a", "b")),
        (None, ("b",), ("b",)),
        (None, ("b", "a"), ("a", "b")),
        (None, ("c",), None),
        (None, ("a", "c"), None),
        ({"https://api": frozenset({"a"})}, (), ("a",)),
        ({"https://api": frozenset({"a"})}, ("b",), None),
        ({"https://api": frozenset({"a", "z"})}, ("z",), None),
        ({"https://other": frozenset({"a"})}, (), ()),
        ({}, ("a",), None),
    ],
)
def test_scopes(client_scopes: Any, asked: tuple[str, ...], granted: tuple[str, ...] | None) -> None:
    client = Client("web", scopes=client_scopes)
    if granted is None:
        with pytest.raises(ScopeDenied):
            decide(ask(scopes=asked), client)
    else:
        assert decide(ask(scopes=asked), client).scopes == granted


def test_the_lifetime_is_refused_and_never_shortened() -> None:
    assert decide(ask(lifetime=3600)).expires_at == 1_800_003_600
    assert decide(ask(lifetime=1)).expires_at == 1_800_000_001
    with pytest.raises(LifetimeDenied):
        decide(ask(lifetime=3601))


@pytest.mark.parametrize(
    ("header", "asked", "kind"),
    [
        ("at+jwt", None, ACCESS_TOKEN), ("at+jwt", ACCESS_TOKEN, ACCESS_TOKEN), ("at+jwt", JWT, JWT),
        ("JWT", None, JWT), ("JWT", JWT, JWT), ("JWT", ACCESS_TOKEN, None), ("at+jwt", ID_TOKEN, None),
        ("at+jwt", "", None),
    ],
)  # fmt: skip
def test_formats(header: str, asked: str | None, kind: str | None) -> None:
    if kind is None:
        with pytest.raises(FormatDenied):
            decide(ask(requested_token_type=asked), format=jwt.of_type(header))
    else:
        assert decide(ask(requested_token_type=asked), format=jwt.of_type(header)).token_type == kind


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'fixed text'", "fixed text"), ("''", ""),
        ("client.id", "web"), ("provider.name", "idp"), ("profile.principal", "ada"), ("profile.roles", ["clerk"]),
        ("assertion.email", "a@x"), ("assertion.address.city", "Turin"), ("assertion['https://x.example/r']", ["q"]),
        ("assertion['address'].city", "Turin"), ("assertion.zero", 0), ("assertion.address", {"city": "Turin"}),
        ("profile.claims.tenant", "t"), ("profile.claims.deep.er", 1), ("profile.claims['deep']['er']", 1),
        ("assertion.missing", None), ("assertion.email.deeper", None), ("profile.claims.none", None),
    ],
)  # fmt: skip
def test_where_claims_come_from(expression: str, value: object) -> None:
    claims = decide(ask(), claims=(("x", expression),)).claims
    assert dict(claims) == ({} if value is None else {"x": value})


@pytest.mark.parametrize(
    "expression",
    ["", "email", "assertion", "assertion.", "assertion..a", "profile", "profile.claims", "profile.x", "client.secret",
     "provider.issuer", "profile.roles.x", "client", "'open", "assertion[email]", "assertion.a b", "assertion['a']x",
     "assertion.a-b", "'a' 'b'", "profile.claims.", "__class__", "assertion.a;drop"],
)  # fmt: skip
def test_other_expressions_are_refused_with_the_accepted_forms(expression: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        policy(claims=(("x", expression),))
    assert error.value.problems == (f'audiences."https://api".claims.x: {mapping.FORMS}',)


@pytest.mark.parametrize("name", [*sorted(RESERVED_CLAIMS), "tm_anything"])
def test_cve_2024_29892_a_mapping_can_not_set_a_reserved_claim(name: str) -> None:
    with pytest.raises(ConfigurationError, match="reserved"):
        policy(claims=((name, "'x'"),))


def test_the_issuer_is_no_audience() -> None:
    with pytest.raises(ConfigurationError, match="issuer itself"):
        Policy({"https://me": AUDIENCE}, "https://me")


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        source = mapping.parse(text)
    except ValueError as error:
        assert str(error) == mapping.FORMS  # noqa: PT017  # both outcomes are fine
    else:
        mapping.evaluate(source, ASSERTION, PROFILE, CLIENT)


def test_the_condition_of_a_provider_holds_for_its_tokens_as_actors_too() -> None:
    rules = Policy(
        {"https://api": replace(AUDIENCE, actors=ActorRules(providers=frozenset({"ci"}), without_may_act=True))},
        "https://me",
        {"ci": "assertion.branch == 'main'"},
        {"ci": (("branch", "assertion.ref"),)},
    )
    audience = rules.admit(CLIENT, ask(actor_token=Secret("y")))
    main, other = (replace(ASSERTION, provider="ci", claims=MappingProxyType({"ref": ref})) for ref in ("main", "evil"))
    rules.admit_actor(audience, ASSERTION, main, CLIENT, ask(), None)
    with pytest.raises(ConditionDenied):
        rules.admit_actor(audience, ASSERTION, other, CLIENT, ask(), None)
