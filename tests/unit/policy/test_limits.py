"""Refusals of the policy to the exact value, what they say, and from a hostile subject token to a minted one."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeEntropy

from tokenmint.base.errors import (
    AccessDenied,
    ActorDenied,
    AudienceDenied,
    ConfigurationError,
    FormatDenied,
    LifetimeDenied,
    ProviderDenied,
    ScopeDenied,
)
from tokenmint.base.token_errors import PossessionNotProved
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt import FORMAT, of_type
from tokenmint.formats.minter import Minter
from tokenmint.keys.signers import local
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.policy import Audience, Client, ExchangeRequest
from tokenmint.model.profile import Profile
from tokenmint.model.reserved_claims import RESERVED_CLAIMS
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, VerifiedToken
from tokenmint.policy import mapping
from tokenmint.policy.grant import Policy

API: Final = "https://api"
KEY: Final = local.generate("ES256")
CLIENT: Final = Client("web")
AUDIENCE: Final = Audience(
    API,
    clients=frozenset({"web"}),
    providers=frozenset({"idp"}),
    format=FORMAT.traits,
    scopes=frozenset({"a", "b", "c"}),
)


def verified(**claims: Any) -> VerifiedToken:
    return VerifiedToken(
        provider="idp", issuer="https://idp", subject="1", token_type=ID_TOKEN, claims=MappingProxyType(claims),
        issued_at=0.0, expires_at=300.0, fingerprint="f", replay_id="r", single_use=False,
    )  # fmt: skip


def ask(**fields: Any) -> ExchangeRequest:
    return ExchangeRequest(Secret("x"), **{"audience": API, **fields})


def policy(**changes: Any) -> Policy:
    return Policy({API: replace(AUDIENCE, **changes)}, "https://me")


def grant(rules: Policy, request: ExchangeRequest, now: float = 1_800_000_000.0, **claims: Any) -> Any:
    audience = rules.admit(CLIENT, request)
    return rules.decide(request, CLIENT, audience, verified(**claims), Profile("ada"), now=now)


def test_a_refusal_names_the_scopes_that_were_refused_and_no_others() -> None:
    with pytest.raises(ScopeDenied) as refused:
        policy().admit(CLIENT, ask(scopes=("z", "a", "y")))
    assert refused.value.message == "the caller may not request for this audience: y z"


def test_a_refused_format_names_the_one_to_ask_for() -> None:
    with pytest.raises(FormatDenied, match=r"token-type:jwt$"):
        policy(format=of_type("JWT")).admit(CLIENT, ask(requested_token_type=ID_TOKEN))
    with pytest.raises(FormatDenied, match=r"token-type:access_token$"):
        policy().admit(CLIENT, ask(requested_token_type=ID_TOKEN))


def test_audiences_can_not_be_enumerated_by_what_else_is_wrong() -> None:
    bad = {"scopes": ("z",), "lifetime": 10**9, "requested_token_type": "urn:x"}
    answers = []
    for client, audience in [(CLIENT, "https://nothing"), (Client("stranger"), API)]:
        with pytest.raises(AccessDenied) as refused:
            policy().admit(client, ask(audience=audience, **bad))
        answers.append((type(refused.value), refused.value.message, refused.value.metadata))
    assert answers == [(AudienceDenied, AudienceDenied.summary, {})] * 2


def test_anonymous_callers_have_every_audience_that_there_is_and_no_other() -> None:
    anyone = Client("anyone", anonymous=True)
    assert policy(clients=frozenset()).admit(anyone, ask(scopes=("a",))).name == API
    with pytest.raises(AudienceDenied):
        policy().admit(anyone, ask(audience="https://nothing"))
    with pytest.raises(ScopeDenied):
        policy().admit(anyone, ask(scopes=("z",)))


def test_a_client_without_credential_needs_an_audience_for_everybody() -> None:
    spa = Client("web", public=True)
    with pytest.raises(AudienceDenied) as refused:
        policy().admit(spa, ask())
    assert refused.value.message == AudienceDenied.summary
    assert policy(public_clients=True).admit(spa, ask()).name == API
    with pytest.raises(AudienceDenied):  # for everybody who is listed
        policy(public_clients=True, clients=frozenset()).admit(spa, ask())


def test_an_audience_without_providers_exchanges_nothing() -> None:
    for providers in (frozenset[str](), frozenset({"IDP"}), frozenset({"idp2", "id"})):
        rules = policy(providers=providers)
        with pytest.raises(ProviderDenied):
            rules.admit_subject(rules.admit(CLIENT, ask()), verified(), CLIENT, ask())


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_lifetime_is_granted_to_the_second_or_refused(limit: int, asked: int) -> None:
    rules = policy(lifetime=1, max_lifetime=limit)
    if asked > limit:
        with pytest.raises(LifetimeDenied, match=f"at most {limit} s"):
            rules.admit(CLIENT, ask(lifetime=asked))
    else:
        granted = grant(rules, ask(lifetime=asked))
        assert granted.expires_at - granted.issued_at == asked


@pytest.mark.parametrize(("now", "issued_at"), [(10.0, 10), (10.999_999, 10), (11.0, 11)])
def test_the_time_is_cut_to_the_second(now: float, issued_at: int) -> None:
    granted = grant(policy(lifetime=600), ask(), now)
    assert (granted.issued_at, granted.expires_at) == (issued_at, issued_at + 600)


@given(st.sets(st.sampled_from("abcdef")), st.none() | st.sets(st.sampled_from("abcdef")), st.data())
def test_scopes_are_what_audience_and_client_share_in_order(
    offered: set[str], allowed: set[str] | None, data: st.DataObject
) -> None:
    client = Client("web", scopes=None if allowed is None else {API: frozenset(allowed)})
    rules = policy(scopes=frozenset(offered))
    grantable = offered if allowed is None else offered & allowed
    asked = tuple(data.draw(st.lists(st.sampled_from("abcdef"), unique=True)))
    if set(asked) <= grantable:
        audience = rules.admit(client, ask(scopes=asked))
        granted = rules.decide(ask(scopes=asked), client, audience, verified(), Profile("ada"), now=0.0)
        assert granted.scopes == tuple(sorted(asked or grantable))
    else:
        with pytest.raises(ScopeDenied):
            rules.admit(client, ask(scopes=asked))


def test_every_problem_of_every_audience_is_listed_with_its_path() -> None:
    audiences = {
        "https://one": replace(AUDIENCE, name="https://one", claims=(("sub", "'x'"), ("ok", "client.id"), ("y", "?"))),
        "two": replace(AUDIENCE, name="two", claims=(("tm_z", "nonsense"), ("https://x/r", "assertion"))),
    }
    with pytest.raises(ConfigurationError) as refused:
        Policy(audiences, "two")
    reserved = "is a reserved claim name: choose another"
    assert refused.value.problems == (
        f'audiences."https://one".claims.sub: {reserved}',
        f'audiences."https://one".claims.y: {mapping.FORMS}',
        "audiences.two: is the issuer itself",
        f"audiences.two.claims.tm_z: {reserved}",
        f"audiences.two.claims.tm_z: {mapping.FORMS}",
        f'audiences.two.claims."https://x/r": {mapping.FORMS}',
    )


def test_the_decision_keeps_its_claims() -> None:
    granted = grant(policy(claims=(("x", "'y'"),)), ask())
    with pytest.raises(TypeError):
        granted.claims["sub"] = "mallory"


@given(st.dictionaries(st.sampled_from(sorted(RESERVED_CLAIMS)), st.text() | st.integers(), max_size=8))
async def test_cve_2024_29892_a_hostile_token_reaches_only_the_claims_that_are_mapped(hostile: dict[str, Any]) -> None:
    rules = policy(
        claims=(("copied", "assertion.sub"), ("theirs", "assertion.iss"), ("who", "profile.claims.sub")),
        scopes=frozenset(),
    )
    audience = rules.admit(CLIENT, ask())
    profile = Profile("ada", claims=hostile)
    if hostile.get("cnf") is not None:
        with pytest.raises(PossessionNotProved):  # nobody can hold a key that is a text or a number
            rules.decide(ask(), CLIENT, audience, verified(**hostile), profile, now=1_800_000_000.5)
        return
    if hostile.get("act") is not None:
        with pytest.raises(ActorDenied):  # who acts is not left out, and this audience takes nobody
            rules.decide(ask(), CLIENT, audience, verified(**hostile), profile, now=1_800_000_000.5)
        return
    granted = rules.decide(ask(), CLIENT, audience, verified(**hostile), profile, now=1_800_000_000.5)
    signer = LocalSigner("kid", "ES256", KEY)
    minted = await Minter(Kit("https://me", lambda _: signer, FakeEntropy())).mint(
        replace(granted, max_token_bytes=1_000_000)
    )
    payload = jwt.decode(
        minted.token.reveal(), KEY.public_key(), algorithms=["ES256"], audience=API, issuer="https://me",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )  # fmt: skip
    mapped = {"copied": hostile.get("sub"), "theirs": hostile.get("iss"), "who": hostile.get("sub")}
    assert payload == {
        "iss": "https://me", "sub": "ada", "aud": API, "iat": 1_800_000_000, "nbf": 1_800_000_000,
        "exp": 1_800_000_600, "jti": minted.token_id, "client_id": "web",
    } | {name: value for name, value in mapped.items() if value is not None}  # fmt: skip
