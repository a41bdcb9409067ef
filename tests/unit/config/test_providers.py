"""Providers from configuration: every problem at once, each with its key's path and the way out."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, ec_key, jwk
from tests.unit.verification.proving import no_fetch

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.providers import provider_from_table
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.verification.keyset import KeySets

JWKS = Issuer().jwks().decode()
MANY = json.dumps({"keys": [jwk(ec_key(), kid=str(number)) for number in range(120)]})


def make(**table: Any) -> Any:
    return provider_from_table("p", table, own_issuer="https://me.example")


def problems(**table: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        make(**table)
    return list(error.value.problems)


def test_issuer_and_audiences_alone_are_enough() -> None:
    provider = make(issuer="https://idp.example/t", audiences=["app"])
    assert list(provider.issuers) == ["https://idp.example/t"]
    assert provider.key_source.kind == "discovery"
    assert provider.key_source.url == "https://idp.example/t/.well-known/openid-configuration"
    assert provider.key_source.issuer == "https://idp.example/t"


def test_a_trailing_slash_of_the_issuer_stays_in_it_and_not_in_the_url() -> None:
    provider = make(issuer="https://x.auth0.com/", audiences=["app"])
    assert provider.key_source.issuer == "https://x.auth0.com/"
    assert provider.key_source.url == "https://x.auth0.com/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, ["providers.p.issuer: is required", "providers.p.audiences: is required"]),
        ({"issuer": "https://i", "audiences": []}, ["providers.p.audiences: is required"]),
        ({"issuer": "https://i", "audiences": [""]}, ["providers.p.audiences: is required"]),
        ({"issuer": "https://me.example", "audiences": ["a"]}, ["providers.p.issuer: is tokenmint's own"]),
        ({"issuer": "http://i", "audiences": ["a"]}, ["providers.p.issuer: expected https"]),
        ({"issuer": "ftp://i", "audiences": ["a"]}, ["providers.p.issuer: expected a URL"]),
        ({"issuer": "i", "audiences": ["a"], "jwks_url": "i"}, ["providers.p.jwks_url: expected a URL"]),
        ({"issuer": "https://i", "audiences": ["a"], "colour": 1}, ["providers.p.colour: there is no such key"]),
        ({"issuer": "https://i", "audiences": "a"}, ["providers.p.audiences: expected a list"]),
        ({"issuer": "https://i", "audiences": ["a"], "skew": "61s"}, ["providers.p.skew: "]),
        ({"issuer": "https://i", "audiences": ["a"], "max_age": "soon"}, ["providers.p.max_age: expected a duration"]),
        ({"issuer": "https://i", "audiences": ["a"], "algorithms": ["HS256"]}, ["providers.p.algorithms: expected"]),
        ({"issuer": "https://i", "audiences": ["a"], "algorithms": ["none"]}, ["providers.p.algorithms: expected"]),
        ({"issuer": "https://i", "audiences": ["a"], "algorithms": []}, ["providers.p.algorithms: expected some"]),
        ({"issuer": "https://i", "audiences": ["a"], "token_types": ["x"]}, ["providers.p.token_types: expected some"]),
        ({"issuer": "https://i", "audiences": ["a"], "token_types": ["id_token", "id-jag"]},
         ["providers.p.token_types: expected some of access_token, id_jag, id_token, jwt, jwt_grant, not 'id-jag'"]),
        ({"issuer": "https://i", "token_types": ["id_token", "jwt_grant"]}, ["providers.p.audiences: is required"]),
        ({"issuer": "https://i", "audiences": [""], "token_types": ["jwt_grant"]}, ["providers.p.audiences: is req"]),
        ({"issuer": "https://i", "audiences": ["a"], "jwks": "{}"}, ["providers.p.jwks: is not a JWK set"]),
        ({"issuer": "https://i", "audiences": ["a"], "jwks": '{"keys":[]}'}, ["providers.p.jwks: has no usable key"]),
        ({"issuer": "https://i", "audiences": ["a"], "jwks_file": "/none"}, ["providers.p.jwks_file: can't be read"]),
        ({"issuer": "https://i", "audiences": ["a"], "jwks": JWKS, "jwks_url": "https://u"},
         ["providers.p.jwks_url: only"]),
        ({"issuer": "https://i", "audiences": ["a"], "checks": [{"claim": "x", "kind": "one_of"}]},
         ["providers.p.checks: x: one_of needs values"]),
        ({"issuer": "https://i", "audiences": ["a"], "checks": [{"claim": "x", "kind": "prefix"}]},
         ["providers.p.checks: x: prefix needs values"]),
        ({"issuer": "https://i", "audiences": ["a"],
          "checks": [{"claim": "x", "kind": "present", "token_types": ["access"]}]},
         ["providers.p.checks: x: token_types: expected some of"]),
        *(({"issuer": "https://i", "audiences": ["a"], "checks": [{"claim": "x", "kind": kind, "values": ["a", ""]}]},
           [f"providers.p.checks: x: {kind} has an empty value"])
          for kind in ("one_of", "none_of", "prefix", "no_suffix")),
        ({"issuer": "https://i", "audiences": ["a"],
          "checks": [{"claim": "x", "kind": "present", "when": {"parameter": "y", "is": "z"}}]},
         ["providers.p.checks: x: when is for shipped entries"]),
        ({"use": "gitlab", "audiences": ["a"], "project_ids": ["1"],
          "checks": [{"claim": "namespace_id", "kind": "one_of", "values": "namespace_ids"}]},
         ["providers.p.checks: namespace_id: values: namespace_ids is not set"]),
        *(({"issuer": "https://i", "audiences": ["a"], "audience_claims": ["client_id", name]},
           ["providers.p.audience_claims: expected names of claims for the client, and no registered claim"])
          for name in ("", "iss", "sub", "aud", "exp", "nbf", "iat", "jti")),
        ({"use": "googel"}, ["providers.p.use: no such entry; the entries are adfs"]),
        ({"use": 5}, ["providers.p.use: no such entry"]),
        ({"use": "auth0"}, ["providers.p.domain: is required", "providers.p.audiences: is required"]),
        ({"use": "auth0", "domain": "https://x/", "audiences": ["a"]}, ["providers.p.domain: expected"]),
        ({"use": "entra", "tenants": "x", "audiences": ["a"]}, ["providers.p.tenants: expected a list"]),
        ({"use": "entra", "tenants": ["common"], "audiences": ["a"]}, ["providers.p.tenants: expected the ids"]),
        ({"use": "entra", "tenants": [], "audiences": ["a"]}, ["providers.p.tenants: expected the ids"]),
        ({"use": "github-actions", "audiences": ["a"]}, ["providers.p: one of repository_ids"]),
        ({"use": "firebase", "project": "proj", "audiences": ["a"]}, ["providers.p.audiences: is not set"]),
        ({"use": "spiffe", "trust_domain": "d", "audiences": ["a"]}, ["providers.p.jwks_url: is required"]),
        ({"use": "spiffe", "trust_domain": "d", "audiences": ["a"], "issuer": "https://i", "jwks": JWKS},
         ["providers.p.issuer: is not set"]),
    ],
)  # fmt: skip
def test_every_problem_is_named_with_its_key(table: dict[str, Any], expected: list[str]) -> None:
    found = problems(**table)
    for start in expected:
        assert any(line.startswith(start) for line in found), found


def test_a_wrong_value_is_told_with_an_example_and_without_what_only_follows_from_it() -> None:
    [told] = problems(use="gitlab", audiences=["a"], project_ids=["group/project"])
    assert told.endswith("expected the numeric ids of the projects whose jobs are accepted, for example 123456")
    [told] = problems(use="github-actions", audiences=["a"], repository_ids="octo/web")
    assert "expected a list" in told


@pytest.mark.parametrize("kinds", [["jwt_grant"], ["id_jag"], ["id_jag", "jwt_grant"]])
def test_a_provider_of_grants_alone_needs_no_audiences(kinds: list[str]) -> None:
    """Every grant is for our issuer, so no token of this provider is compared with its audiences."""
    assert make(issuer="https://i", token_types=kinds).audiences == frozenset()


def test_an_operator_may_add_to_a_shipped_entry() -> None:
    provider = make(
        use="google",
        audiences=["a", "b"],
        single_use=True,
        max_age="5m",
        checks=[{"claim": ["a", "b"], "kind": "present"}],
        token_types=["id_token", "access_token"],
    )
    assert (provider.single_use, provider.max_age, provider.google_email) == (True, 300.0, True)
    assert provider.checks[-1].path == ("a", "b")
    assert provider.token_types == {ID_TOKEN, ACCESS_TOKEN}


def test_another_issuer_brings_its_own_keys() -> None:
    provider = make(
        use="github-actions", audiences=["a"], repository_ids=["1"], issuer="https://ghes.example/_services"
    )
    assert provider.key_source.url == "https://ghes.example/_services/.well-known/openid-configuration"
    assert list(provider.issuers) == ["https://ghes.example/_services"]


def test_keys_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(JWKS)
    provider = make(issuer="https://i", audiences=["a"], jwks_file=str(file))
    assert (provider.key_source.kind, provider.key_source.path) == ("file", file)
    assert [key.key_id for key in provider.key_source.file.value.keys] == ["k1"]


@pytest.mark.parametrize("key", ["jwks", "jwks_file"])
@pytest.mark.parametrize(("given", "used"), [({}, 100), ({"max_keys": 3}, 3), ({"max_keys": 1000}, 120)])
def test_max_keys_is_the_limit_of_keys_that_are_not_fetched_too(
    tmp_path: Path, key: str, given: dict[str, Any], used: int
) -> None:
    (tmp_path / "keys").write_text(MANY)
    provider = make(
        issuer="https://i", audiences=["a"], **{key: MANY if key == "jwks" else str(tmp_path / "keys")}, **given
    )
    sets = KeySets({"p": provider.key_source}, fetch=no_fetch, clock=FakeClock())
    assert [found.key_id for found in sets.trusted("p")] == [str(number) for number in range(used)]
