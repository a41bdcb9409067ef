"""Grants for other servers go to clients that have authenticated themselves, and to nobody else."""

from pathlib import Path

import pytest

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING

AS = "https://as.example"
TEXT = f"""
issuer = "https://tokens.example"
[oauth]
enabled = true
drafts = ["{IDENTITY_ASSERTION}", "{IDENTITY_CHAINING}"]
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
[audiences."{AS}"]
clients = ["web", "spa"]
providers = ["idp"]
"""
CLIENTS = f"""
[clients.web]
secrets = ["sha256:{"a" * 64}"]
[clients.spa]
public = true
"""
FORMATS = (f'[audiences."{AS}".id_jag]\nclients = {{ web = "x", spa = "y" }}\n', f'[audiences."{AS}".jwt_grant]\n')


@pytest.mark.parametrize("table", FORMATS, ids=["id_jag", "jwt_grant"])
@pytest.mark.parametrize(
    ("case", "audience", "more", "problem"),
    [
        ("MCP 7.7: a client without a credential", "public_clients = true", "", "public_clients: a client that"),
        ("Envoy, which hands it to a service", "", f'[envoy]\naudience = "{AS}"', "envoy.audience: https://as"),
        ("a host", "", f'[envoy.hosts]\n"a.example" = "{AS}"', 'envoy.hosts."a.example": https://as'),
        ("another gateway", "", f'[gateway]\naudience = "{AS}"', "gateway.audience: https://as"),
        ("a route", "", f'[gateway.routes.api]\naudience = "{AS}"', "gateway.routes.api.audience: https://as"),
    ],
)
def test_a_grant_for_another_server_goes_to_no(
    tmp_path: Path, table: str, case: str, audience: str, more: str, problem: str
) -> None:
    file = tmp_path / "tokenmint.toml"
    file.write_text(f"{TEXT}\n{table}\n{more}\n{CLIENTS}")
    if not more:
        load(file, {})
    file.write_text(f"{TEXT}{audience}\n{table}\n{more}\n{CLIENTS}")
    with pytest.raises(ConfigurationError) as refused:
        load(file, {})
    assert problem in refused.value.message, case
