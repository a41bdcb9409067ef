"""The settings of gateways: hosts, headers, routes, and how long an answer may be kept."""

from pathlib import Path

import pytest

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.gateways import gateway_of, routes_of
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.gateway.decision import Route
from tokenmint.model.tokens import ACCESS_TOKEN

TEXT = """
issuer = "https://tokens.example"
{listen}
[gateway]
enabled = true
{gateway}
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
[audiences."https://api.example"]
clients = ["gateway"]
providers = ["idp"]
scopes = ["read"]
{audience}
[clients.gateway]
secrets = ["sha256:{hash}"]
"""
ROUTE = '[gateway.routes.api]\naudience = "https://api.example"\n'


def read(directory: Path, **parts: str) -> Settings:
    file = directory / "tokenmint.toml"
    file.write_text(TEXT.format(**{"gateway": "", "audience": "", "listen": "", "hash": "a" * 64} | parts))
    return load(file, {})


def test_routes_and_rules_are_those_of_the_table(tmp_path: Path) -> None:
    table = f'audience = "https://api.example"\n{ROUTE}scopes = ["read"]\nsubject_token_type = "access_token"'
    settings = read(tmp_path, gateway=table, audience='gateway_cache = "1m"')
    assert routes_of(settings.gateway) == {"api": Route("https://api.example", ("read",), ACCESS_TOKEN)}
    assert gateway_of(settings.gateway).audience == "https://api.example"
    assert settings.audiences["https://api.example"].gateway_cache == 60
    assert not settings.envoy.enabled


def test_an_answer_is_kept_for_a_second_by_default_and_no_gateway_is_served(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.audiences["https://api.example"].gateway_cache == 1
    assert not load(None, {}).gateway.enabled


@pytest.mark.parametrize(
    ("case", "parts", "problem"),
    [
        ("no such audience", {"gateway": '[gateway.routes.a]\naudience = "https://x"'}, "gateway.routes.a.audience"),
        ("a route without one", {"gateway": "[gateway.routes.a]"}, "gateway.routes.a.audience: is required"),
        ("a scope that it lacks", {"gateway": f'{ROUTE}scopes = ["admin"]'}, "the audience does not have admin"),
        ("a scope that is none", {"gateway": f"{ROUTE}scopes = ['re\"ad']"}, "scope-token"),
        ("a name that is no path", {"gateway": '[gateway.routes."a/b"]\naudience = "https://api.example"'}, "a/b"),
        ("a host with a port", {"gateway": '[gateway.hosts]\n"a:1" = "https://api.example"'}, "without port"),
        ("the host's header as a token's", {"gateway": 'headers = ["x-forwarded-host"]'}, "never holds a token"),
        ("a credential as a token's", {"gateway": 'headers = ["tokenmint-client-secret"]'}, "never holds a token"),
        ("another header for the host", {"gateway": 'host_header = "host"'}, "gateway.host_header"),
        ("beyond loopback without TLS", {"listen": '[listen]\nhttp = "0.0.0.0:80"'}, "gateway.enabled: secrets would"),
        ("half a second", {"audience": 'gateway_cache = "500ms"'}, "expected a whole number of seconds"),
        ("an hour", {"audience": 'gateway_cache = "1h"'}, "gateway_cache"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, case: str, parts: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, **parts)
    assert problem in str(refused.value), case
