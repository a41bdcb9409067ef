"""The example tokens of shipped entries, signed and judged."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.issuer import jwk, rsa_key
from tests.unit.verification.proving import ME, NOW, verifier_of

from tokenmint.base.token_errors import TokenRejected
from tokenmint.config.entries import TOKEN_TYPES, Entry
from tokenmint.config.examples import DocumentedEntry, ExampleToken, RefusedTable, RefusedToken
from tokenmint.config.providers import judge_provider
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ACCESS_TOKEN
from tokenmint.verification.provider import Provider
from tokenmint.verification.verifier import Verifier

KEY_OF: Final = {
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "PS384": "rsa",
    "PS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed",
}
"""The key of each algorithm, by its `kid`."""


@cache
def keys(owner: str) -> dict[str, Any]:
    """Return the private keys of a provider by `kid`, made once in each test process."""
    return {
        "rsa": rsa_key(0 if owner == "provider" else 1),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }


@cache
def key_set() -> str:
    """Return the provider's public keys."""
    return json.dumps({"keys": [jwk(key, kid=kid) for kid, key in keys("provider").items()]})


def provider_of(name: str, entries: Mapping[str, Entry], settings: Mapping[str, Any]) -> Provider:
    """Return the provider of an operator's table that uses an entry."""
    judged = judge_provider("p", {"use": name, "jwks": key_set(), **settings}, own_issuer=ME, entries=entries)
    assert judged.provider is not None, judged.problems
    return judged.provider


def algorithm_of(example: ExampleToken, entry: Entry) -> str:
    """Return the algorithm of an example's signature."""
    usual = entry.algorithms or {"RS256"}
    return example.algorithm or ("RS256" if "RS256" in usual else min(usual))


def signed(claims: Mapping[str, Any], algorithm: str, header: Mapping[str, Any], owner: str = "provider") -> str:
    """Return a token; a claim of None and a header of None or "" are left out."""
    given = {"iat": int(NOW), "exp": int(NOW) + 300, **claims}
    payload = {name: value for name, value in given.items() if value is not None}
    kid = KEY_OF.get(algorithm, "rsa")
    key: Any = keys(owner)[kid]
    if algorithm == "none":
        key = None
    elif algorithm == "HS256":
        key = b"a secret that both of them know!"
    headers = {name: value or None for name, value in {"kid": kid, **header}.items()}
    kept = {name: value for name, value in headers.items() if value is not None or name == "typ"}
    return jwt.encode(payload, key, algorithm=algorithm, headers=kept)


async def outcome(verifier: Verifier, token: str, kind: str) -> tuple[str | None, str]:
    """Return the reason of a refusal, None if there is none, and the subject or the message."""
    try:
        return None, (await verifier.verify(Secret(token), kind, nonce=None, now=NOW)).subject
    except TokenRejected as error:
        return error.reason, error.message


def claims_of(example: ExampleToken) -> dict[str, Any]:
    """Return the claims of an example, with None for a missing `iat`."""
    return {**example.claims, **({"iat": None} if example.without_iat else {})}


async def accepted(name: str, entries: Mapping[str, Entry], example: ExampleToken) -> tuple[str | None, str]:
    """Return the outcome of an example."""
    token = signed(claims_of(example), algorithm_of(example, entries[name]), example.header)
    verifier = verifier_of(provider_of(name, entries, example.settings))
    return await outcome(verifier, token, TOKEN_TYPES[example.type])


async def refused(
    name: str, entries: Mapping[str, Entry], example: ExampleToken, variant: RefusedToken
) -> tuple[str | None, str]:
    """Return the outcome of a variant of an example."""
    claims = {**claims_of(example), **variant.claims, **dict.fromkeys(variant.without)}
    algorithm = variant.algorithm or algorithm_of(example, entries[name])
    token = signed(claims, algorithm, {**example.header, **variant.header})
    verifier = verifier_of(provider_of(name, entries, {**example.settings, **variant.settings}))
    return await outcome(verifier, token, TOKEN_TYPES[variant.type or example.type])


Attack = tuple[str, frozenset[str], str, str]
"""A name, the reasons of which one is expected, the token, and the kind (URN) that it is sent as."""


def attacks(entry: Entry, example: ExampleToken, provider: Provider) -> Iterator[Attack]:
    """Yield what no provider accepts, made from an example."""
    algorithm, kind = algorithm_of(example, entry), TOKEN_TYPES[example.type]

    def attack(name: str, reasons: str, changes: Mapping[str, Any] | None = None, **how: Any) -> Attack:
        claims, header = {**claims_of(example), **(changes or {})}, {**example.header, **how.get("header", {})}
        token = signed(claims, how.get("alg", algorithm), header, how.get("owner", "provider"))
        return name, frozenset(reasons.split("|")), token, how.get("kind", kind)

    if provider.trust_domain is None:
        for issuer in (f"{example.claims['iss']}/x", example.claims["iss"].upper(), "https://evil.example", None):
            yield attack(f"the issuer {issuer}", "UNKNOWN_ISSUER", {"iss": issuer})
    for_us = "aud" if "aud" in example.claims else provider.audience_claims[0]
    for audience in ("somebody-else", ["somebody-else"], [], None, 5):
        yield attack(f"{for_us} {audience}", "WRONG_AUDIENCE", {for_us: audience})
    for alg in {*KEY_OF, "HS256", "none"} - provider.algorithms:
        yield attack(f"the algorithm {alg}", "ALGORITHM_NOT_ALLOWED|MALFORMED", alg=alg)
    yield attack("another key", "BAD_SIGNATURE", owner="somebody else")
    yield attack("a key that is not known", "UNKNOWN_KEY", header={"kid": "x"})
    paths = provider.subject_claims_by_type.get(kind, provider.subject_claims)
    for path in (path for path in paths if path[0] in example.claims):
        yield attack(f"no {path[0]}", "CLAIM_REJECTED|UNKNOWN_ISSUER", {path[0]: None})
    yield attack("expired", "EXPIRED", {"exp": int(NOW) - 60})
    yield attack("no end", "CLAIM_REJECTED", {"exp": None})
    yield attack("of tomorrow", "NOT_YET_VALID", {"iat": int(NOW) + 86400, "exp": int(NOW) + 90000})
    yield attack("a logout token", "UNSUPPORTED_TOKEN_TYPE", header={"typ": "logout+jwt"})
    yield attack("a security event", "UNSUPPORTED_TOKEN_TYPE", {"events": {"http://schemas.openid.net/event/x": {}}})
    if ACCESS_TOKEN not in provider.token_types:
        yield attack("an access token", "UNSUPPORTED_TOKEN_TYPE", header={"typ": "at+jwt"})
    for urn in TOKEN_TYPES.values():
        if urn not in provider.token_types and urn != TOKEN_TYPES["jwt"]:  # every JWT may be sent as one
            yield attack(f"sent as {urn}", "UNSUPPORTED_TOKEN_TYPE", kind=urn)


def table_is_refused(name: str, entries: Mapping[str, Entry], table: RefusedTable) -> bool:
    """Return whether an operator's table is refused with its key."""
    problems = judge_provider("p", {"use": name, **table.settings}, own_issuer=ME, entries=entries).problems
    path = f"providers.p.{table.key}:" if table.key else "providers.p:"
    return any(problem.startswith(path) for problem in problems)


async def checks_without_a_token(name: str, entries: Mapping[str, Entry], documented: DocumentedEntry) -> list[str]:
    """Return the checks of an entry that could be taken away without a refused token being accepted."""
    entry, needless = entries[name], []
    for at, check in enumerate(entry.checks):
        rest = entry.checks[:at] + entry.checks[at + 1 :]
        less = {**entries, name: entry.model_copy(update={"checks": rest})}
        outcomes = [
            await refused(name, less, example, variant)
            for example in documented.tokens
            for variant in example.refused
            if variant.reason == "CLAIM_REJECTED"
        ]
        if all(reason is not None for reason, _ in outcomes):
            needless.append(f"{name}.toml: check {at + 1}: {check.kind} of {'.'.join(check.claim)}")
    return needless


def check_documentation(name: str, entries: Mapping[str, Entry], documented: DocumentedEntry) -> None:
    """Check that an entry's file has good and bad tokens for its issuers, parameters, kinds and guards."""
    entry, words = entries[name], documented.documentation
    assert words.about, f"{name}.toml: add [documentation] with about, pages and looked_at"
    assert words.pages
    assert words.looked_at
    assert documented.tokens, f"{name}.toml: add [[tokens]], each accepted, with [[tokens.refused]]"
    assert all(example.refused for example in documented.tokens), f"{name}.toml: each of [[tokens]] needs a refused one"
    names = [example.name for example in documented.tokens]
    assert len(set(names)) == len(names)
    reasons = {variant.reason for example in documented.tokens for variant in example.refused}
    assert reasons >= {"UNKNOWN_ISSUER", "WRONG_AUDIENCE"}, f"{name}.toml: add a foreign issuer and a wrong audience"
    set_keys = {key for example in documented.tokens for key in example.settings}
    assert {key for key, parameter in entry.parameters.items() if parameter.default is None} <= set_keys
    used = set()
    for example in documented.tokens:
        issuers = list(provider_of(name, entries, example.settings).issuers)
        if example.claims.get("iss") in issuers:
            used.add(issuers.index(example.claims["iss"]) % max(1, len(entry.issuers)))
    assert used >= set(range(len(entry.issuers))), f"{name}.toml: an issuer has no accepted token"
    kinds = {example.type for example in documented.tokens}
    assert "access_token" in kinds or not entry.untyped_access_tokens, f"{name}.toml: add an access token"
    refused_keys = {table.key for table in documented.refused_tables}
    assert "" in refused_keys or not entry.require_one_of, f'{name}.toml: add [[refused_tables]] with key ""'
    patterns = (entry.default_audiences, entry.default_audiences_of_host)
    assert "audiences" in refused_keys or patterns == (None, None)
    if entry.customer_claims and not entry.require_one_of:
        assert {check.claim[0] for check in entry.checks} & set(entry.customer_claims)
    elif entry.customer_claims:
        guarded = {check.claim[0] for check in entry.checks if check.values in entry.require_one_of}
        assert guarded
        assert guarded <= set(entry.customer_claims)
