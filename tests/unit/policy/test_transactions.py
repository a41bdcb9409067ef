"""Transaction tokens as policy sees them: a chain of replacements, in any order of requests, never widens."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.admission.validation import Violations
from tokenmint.base.errors import AccessDenied, ConfigurationError, ReexchangeDenied, ScopeDenied
from tokenmint.formats import jwt
from tokenmint.formats.txn_token import FORMAT
from tokenmint.model.format import TransactionRules
from tokenmint.model.issued import IssuedToken, issued_token
from tokenmint.model.policy import Actor, ActorRules, Audience, Client, ExchangeRequest, TokenGrant
from tokenmint.model.profile import Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN, SELF_ISSUED, TXN_TOKEN, VerifiedToken
from tokenmint.policy.grant import Policy

DOMAIN, NOW = "trust-domain.example", 1_800_000_000
SCOPES = ("a", "b", "c", "d")
RULES = TransactionRules(
    tctx=(("x", "request.details.x"), ("y", "=request.details.y")), rctx=(("z", "request.context.z"),)
)
AUDIENCE = Audience(
    DOMAIN, clients=frozenset({"web", "pay"}), providers=frozenset({"work"}), scopes=frozenset(SCOPES), lifetime=300,
    max_lifetime=300, format=replace(FORMAT.traits, transaction=RULES), reexchange_from=frozenset({DOMAIN}),
    claims=(("m", "assertion.m"),),
)  # fmt: skip
POLICY = Policy({DOMAIN: AUDIENCE}, "https://tokens.example")
WEB, PAY = Client("web", serves=frozenset({DOMAIN})), Client("pay", serves=frozenset({DOMAIN}))
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)  # U+0000 is refused before
JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, st.lists, max_leaves=4)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)
ASKED = st.lists(st.sampled_from(SCOPES), unique=True, min_size=1).map(tuple)


def verified(issued: IssuedToken | None = None, **claims: Any) -> VerifiedToken:
    own = dict(issued.claims) if issued is not None else claims
    name = SELF_ISSUED if issued is not None else "work"
    kind = TXN_TOKEN if issued is not None else ACCESS_TOKEN
    return VerifiedToken(name, "https://x.example", "s", kind, own, NOW, NOW + 60, "f", "r", single_use=False)


def decided(client: Client, asked: tuple[str, ...], issued: IssuedToken | None, now: int, **fields: Any) -> TokenGrant:
    request = ExchangeRequest(
        Secret("subject-token"), audience=DOMAIN, scopes=asked, requested_token_type=TXN_TOKEN,
        subject_token_type=TXN_TOKEN if issued is not None else ACCESS_TOKEN, **fields,
    )  # fmt: skip
    subject = verified(issued, scope="a b c", m="mapped")
    audience = POLICY.admit(client, request)
    POLICY.admit_subject(audience, subject, client, request, issued)
    return POLICY.decide(request, client, audience, subject, Profile("ada"), now=now, issued=issued)


def as_issued(grant: TokenGrant, token_id: str) -> IssuedToken:
    """The token of a grant, as it comes back."""
    transaction = grant.transaction
    assert transaction is not None
    claims: dict[str, Any] = {
        "jti": token_id, "sub": grant.principal, "aud": grant.audience, "req_wl": grant.client_id,
        "scope": " ".join(grant.scopes), "iat": grant.issued_at, "exp": grant.expires_at, "txn": transaction.txn or "t",
        "tctx": dict(transaction.tctx), "rctx": dict(transaction.rctx), "tm_lineage": list(grant.ancestors),
        "tm_call_chain": list(transaction.earlier), **grant.claims,
    }  # fmt: skip
    return issued_token(claims, "f", kind=TXN_TOKEN)


@given(
    first=ASKED, context=OBJECTS, details=OBJECTS,
    later=st.lists(st.tuples(st.sampled_from([WEB, PAY]), ASKED, st.integers(0, 100)), max_size=6),
)  # fmt: skip
def test_section_13_15_no_chain_of_replacements_widens(
    first: tuple[str, ...], context: dict[str, Any], details: dict[str, Any], later: list[tuple[Client, Any, int]]
) -> None:
    now = NOW
    try:
        grant = decided(WEB, first, None, now, request_context=context, request_details=details)
    except AccessDenied:
        assert set(first) - {"a", "b", "c"}
        return
    assert set(grant.scopes) == set(first) <= {"a", "b", "c"}
    origin = token = as_issued(grant, "j0")
    requesters = ["web"]
    for number, (client, asked, seconds) in enumerate(later, 1):
        now += seconds
        try:
            grant = decided(client, asked, token, now)
        except AccessDenied:
            assert set(asked) - set(token.scopes) or number > 4 or now >= token.expires_at
            continue
        renewed = as_issued(grant, f"j{number}")
        assert set(renewed.scopes) <= set(token.scopes) <= set(origin.scopes)
        assert renewed.expires_at <= token.expires_at
        for name in ("txn", "sub", "aud", "tctx", "rctx", "m"):
            assert renewed.claims[name] == origin.claims[name]
        assert renewed.claims["tm_call_chain"] == requesters
        requesters.append(client.client_id)
        token = renewed
    assert len(requesters) <= 5


def test_values_that_nobody_gave_are_left_out() -> None:
    grant = decided(WEB, ("a",), None, NOW, request_details={"x": None, "y": {"deep": [1]}})
    assert grant.transaction is not None
    assert (grant.transaction.tctx, grant.transaction.rctx) == ({"y": {"deep": [1]}}, {})


@pytest.mark.parametrize("client", [Client("web", public=True), Client("web", anonymous=True)])
def test_section_11_5_a_client_that_has_proved_nothing_has_no_transaction(client: Client) -> None:
    with pytest.raises(AccessDenied):
        decided(client, ("a",), None, NOW)


def test_section_9_2_a_transaction_token_leaves_no_trust_domain_and_becomes_no_other_kind() -> None:
    """The configuration refuses such a table; this is the second check."""
    issued = as_issued(decided(WEB, ("a",), None, NOW), "j")
    elsewhere = replace(AUDIENCE, name="https://api.example", reexchange_from=frozenset({DOMAIN}))
    for audience in (
        elsewhere,
        replace(elsewhere, format=jwt.FORMAT.traits),
        replace(AUDIENCE, format=jwt.FORMAT.traits),
    ):
        policy = Policy({audience.name: audience}, "https://tokens.example")
        request = ExchangeRequest(Secret("x"), audience=audience.name)
        with pytest.raises(ReexchangeDenied, match="only for a replacement"):
            policy.admit_subject(audience, verified(issued), WEB, request, issued)


ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)
                   | st.dictionaries(st.text(), inner), max_leaves=20)  # fmt: skip


@given(details=st.dictionaries(st.text(), ANY, max_size=5))
def test_nothing_that_a_caller_tells_suppresses_what_the_operator_asserts(details: dict[str, Any]) -> None:
    """An object that CEL could not read would leave every computed member out."""
    violations = Violations()
    told = violations.json_object("request_details", json.dumps(details))
    asserted = TransactionRules(tctx=(("limit", "=100"), ("by", "=client.id + '!'")))
    audience = replace(AUDIENCE, format=replace(FORMAT.traits, transaction=asserted), condition="client.id == 'web'")
    policy = Policy({DOMAIN: audience}, "https://tokens.example")
    request = ExchangeRequest(Secret("subject-token"), audience=DOMAIN, scopes=("a",), request_details=told)
    grant = policy.decide(request, WEB, audience, verified(scope="a"), Profile("ada"), now=NOW)
    assert grant.transaction is not None
    assert grant.transaction.tctx == {"limit": 100, "by": "web!"}


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("request.context.scopes", True), ("request.details['scopes']", True), ("=request.scopes", True),
        ("=request['context'].scopes", True), ("=[request.details.x]", True), ("= .request.scopes", True),
        ("=dyn(request).scopes", True), ("assertion.request", False), ("=assertion.request.scopes", False),
        ("=assertion['request']", False),
        ("='request' in profile.roles ? ['a'] : []", False), ("assertion.scope", False),
    ],
)  # fmt: skip
def test_section_13_6_a_caller_never_names_the_scopes_that_others_stand_for(source: str, *, refused: bool) -> None:
    acting = Audience("https://api", AUDIENCE.clients, AUDIENCE.providers, jwt.FORMAT.traits, scopes=frozenset(SCOPES))
    for audience in (
        replace(AUDIENCE, format=replace(FORMAT.traits, transaction=TransactionRules(subject_scopes=source))),
        replace(acting, actors=ActorRules(intersection=True, subject_scopes=source)),
        replace(acting, actors=ActorRules(intersection=True, actor_scopes=source)),
    ):
        expected: AbstractContextManager[object] = nullcontext()
        if refused:
            expected = pytest.raises(ConfigurationError, match="_scopes: reads the request, so")
        with expected:
            Policy({audience.name: audience}, "https://tokens.example")


def test_a_refusal_is_bounded_however_many_scopes_it_names() -> None:
    """gRPC sends it in a trailer, and clients accept 8 KiB of those."""
    many = tuple(f"{number:03}{'x' * 125}" for number in range(64))
    audience = replace(AUDIENCE, scopes=frozenset(many), actors=ActorRules(intersection=True))
    request = ExchangeRequest(Secret("x"), audience=DOMAIN, scopes=many, requested_token_type=TXN_TOKEN)
    policy = Policy({DOMAIN: audience}, "https://tokens.example")
    for actor in (None, Actor("agent")):
        with pytest.raises(ScopeDenied) as refused:
            policy.decide(request, WEB, audience, verified(scope="a"), Profile("ada"), now=NOW, actor=actor)
        assert len(refused.value.message) < 400
    issued = as_issued(decided(WEB, ("a",), None, NOW), "j")
    with pytest.raises(ScopeDenied) as refused:
        POLICY.decide(request, WEB, audience, verified(issued), Profile("ada"), now=NOW, issued=issued)
    assert len(refused.value.message) < 400
