"""The warning about grants for other servers that tokens of any app are exchanged for (section 4.3.3 of the draft)."""

from pathlib import Path

import pytest
from tests.issuer import Issuer

from tokenmint.config.load import load

IDP = Issuer(url="https://idp.example")
TEXT = """
issuer = "https://tokens.example"
data_dir = "data"
[oauth]
enabled = true
drafts = ["draft-ietf-oauth-identity-assertion-authz-grant-04", "draft-ietf-oauth-identity-chaining-17"]
[providers.idp]
issuer = "https://idp.example"
audiences = {apps}
jwks = '{jwks}'
{provider}
[audiences."https://as.example"]
clients = ["web"]
providers = ["idp"]
{audience}
{table}
[clients.web]
secrets = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
"""
JAG = '[audiences."https://as.example".id_jag]\nclients = { web = "x" }'
GRANT = '[audiences."https://as.example".jwt_grant]'
COMPARED = "condition = \"client.id == 'web' && assertion.aud == 'web-app'\""


@pytest.mark.parametrize(
    ("case", "apps", "provider", "audience", "table", "warned"),
    [
        ("two apps", '["other", "web-app"]', "", "", JAG, True),
        ("two apps, a plain grant", '["other", "web-app"]', "", "", GRANT, True),
        ("another condition", '["other", "web-app"]', "", "condition = \"client.id == 'web'\"", JAG, True),
        ("one app", '["web-app"]', "", "", JAG, False),
        ("compared", '["other", "web-app"]', "", COMPARED, JAG, False),
        ("compared by the provider", '["other", "web-app"]', COMPARED, "", JAG, False),
        ("access tokens of ours", '["other", "web-app"]', "", "", "", False),
    ],
)
def test_section_4_3_3_several_apps_without_a_comparison_have_a_warning(
    tmp_path: Path, case: str, apps: str, provider: str, audience: str, table: str, warned: bool
) -> None:
    path = tmp_path / "tokenmint.toml"
    keys = IDP.jwks().decode()
    path.write_text(TEXT.format(apps=apps, provider=provider, audience=audience, table=table, jwks=keys))
    found = [line for line in load(path, {}).warnings if "assertion.aud" in line]
    assert len(found) == warned, case
    if warned:
        assert found[0].startswith(
            'audiences."https://as.example".condition: tokens of providers.idp may be for 2 apps'
        )
