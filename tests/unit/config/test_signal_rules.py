"""The table `[providers.NAME.signals]`: its rules, its defaults, and each mistake by its key."""

from pathlib import Path
from typing import Any

import pytest
from tests.issuer import Issuer

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.config.providers import provider_from_table
from tokenmint.model.signals import Action, Delivery, SignalRules
from tokenmint.verification.event_types import CAEP, DEFAULT_ACTIONS, OF_STREAMS, RISC, short_name, types_named


def rules(issuer: Issuer, signals: dict[str, Any], **table: Any) -> SignalRules:
    given = {"issuer": issuer.url, "audiences": ["app"], "jwks": issuer.jwks().decode(), "signals": signals}
    found = provider_from_table("idp", given | table, own_issuer="https://me.example").signals
    assert found is not None
    return found


def test_an_empty_table_has_the_providers_own_values(issuer: Issuer) -> None:
    found = rules(issuer, {})
    assert found.deliveries == {Delivery.SECEVENT, Delivery.LOGOUT}
    assert found.issuers == {issuer.url}
    assert found.audiences == {"app"}
    assert found.transmitter == issuer.url
    assert found.actions == DEFAULT_ACTIONS
    assert not found.untyped


def test_without_the_table_there_are_no_signals(issuer: Issuer) -> None:
    table = {"issuer": issuer.url, "audiences": ["app"], "jwks": issuer.jwks().decode()}
    assert provider_from_table("idp", table, own_issuer="https://me.example").signals is None
    google = provider_from_table("google", {"use": "google", "audiences": ["app"]}, own_issuer="https://me.example")
    assert google.signals is None  # an entry alone turns nothing on


def test_an_action_by_a_short_name_and_by_a_uri(issuer: Issuer) -> None:
    found = rules(issuer, {"events": {"session-revoked": "ignore", "https://x.example/gone": "disable"}})
    assert found.actions[CAEP + "session-revoked"] is Action.IGNORE
    assert found.actions["https://x.example/gone"] is Action.DISABLE
    assert found.actions[RISC + "account-disabled"] is Action.DISABLE


def test_the_known_types_have_one_short_name_each() -> None:
    assert all(types_named(short_name(uri)) == (uri,) for uri in DEFAULT_ACTIONS)
    assert not OF_STREAMS & DEFAULT_ACTIONS.keys()


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"deliveries": ["push"]}, "signals.deliveries: expected some of secevent, logout, apple"),
    ({"deliveries": []}, "signals.deliveries"),
    ({"audiences": [""]}, "signals.audiences: is required"),
    ({"events": {"sesion-revoked": "revoke"}}, "no URI: did you mean session-revoked?"),
    ({"events": {"verification": "revoke"}}, "signals.events: there is no such type of event"),
    ({"events": {"session-revoked": "delete"}}, "session-revoked: expected one of disable, revoke, unlink, ignore"),
    ({"subjects": {"iss_sub": "sub"}}, "signals.subjects: expected names of claims by some of the formats"),
    ({"subjects": {"opaque": "iss"}}, "signals.subjects"),
    ({"push_secrets": ["secret"]}, 'signals.push_secrets: expected "sha256:"'),
    ({"transmitter": "http://idp.example"}, "signals.transmitter: expected https"),
    ({"transmitter": "no url"}, "signals.transmitter"),
    ({"poll": {"url": "https://idp.example/poll"}}, "signals.token_file: is required with poll"),
    ({"poll": {"url": "ftp://idp.example"}, "token_file": "/none"}, "signals.poll.url"),
    ({"token_file": "/none"}, "signals.token_file"),
    ({"rate": {"per_second": 0, "burst": 1}}, "signals.rate.per_second"),
    ({"max_age": "1s"}, "signals.max_age"),
    ({"event": {}}, "signals.event: there is no such key: did you mean events?"),
]


@pytest.mark.parametrize(("signals", "told"), MISTAKES, ids=str)
def test_a_mistake_is_told_by_its_key(issuer: Issuer, signals: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        rules(issuer, signals)
    assert all(problem.startswith("providers.idp.signals.") for problem in refused.value.problems)
    assert told in "\n".join(refused.value.problems)


def test_a_provider_without_an_issuer_names_that_of_its_events() -> None:
    table = {"use": "spiffe", "trust_domain": "mesh.example", "audiences": ["app"], "signals": {}}
    with pytest.raises(ConfigurationError, match=r"signals\.issuers: is required"):
        provider_from_table("mesh", table, own_issuer="https://me.example")


def test_a_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    config = tmp_path / "tokenmint.toml"
    config.write_text("""
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
[providers.idp.signals]
token_file = "token"
""")
    signals = load(config, {}).providers["idp"].signals
    assert signals is not None
    assert signals.token_file == tmp_path / "token"
