"""Services outside that verify our tokens: their documented limits, and the warnings about audiences beyond them."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.pages import ROOT

from tokenmint.base.errors import ConfigurationError
from tokenmint.config import relying_parties
from tokenmint.config.load import load
from tokenmint.config.relying_parties import RelyingParty, entry, names
from tokenmint.config.tables import file_table
from tokenmint.formats.table import shipped, tables
from tokenmint.verification.jwk import ALGORITHMS

HEAD = """
issuer = "{issuer}"
data_dir = "data"
[keys]
algorithms = ["ES256", "RS256", "EdDSA"]
{keys}
[oauth]
drafts = ["draft-ietf-oauth-identity-assertion-authz-grant-04"]
[providers.partner]
issuer = "https://login.partner.example"
audiences = ["web-app"]
[audiences."{audience}"]
clients = ["web"]
providers = ["partner"]
relying_party = "{party}"
{more}
[clients.web]
secrets = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
"""
AUDIENCES = {"azure": "api://AzureADTokenExchange"}
ALGORITHM = {"azure": "RS256"}


def warnings(
    tmp_path: Path, party: str, more: str = "", *, keys: str = "", audience: str = "", issuer: str = "https://t.example"
) -> list[str]:
    algorithm = "" if "algorithm" in more else f'algorithm = "{ALGORITHM.get(party, "ES256")}"\n'
    name = audience or AUDIENCES.get(party, "sts.amazonaws.com")
    text = HEAD.format(party=party, more=algorithm + more, keys=keys, audience=name, issuer=issuer)
    (tmp_path / "tokenmint.toml").write_text(text)
    found = load(tmp_path / "tokenmint.toml", {}).warnings
    assert all(warning.startswith("audiences.") for warning in found)
    return [re.sub(r"^audiences\.(\"[^\"]*\"|[\w-]+)\.", "", warning) for warning in found]


@pytest.mark.parametrize("party", names())
def test_an_entry_is_complete_and_its_usual_audience_has_no_warning(tmp_path: Path, party: str) -> None:
    one = entry(party)
    assert one.algorithms <= ALGORITHMS
    assert one.documentation.pages
    assert all(page.startswith("https://") for page in one.documentation.pages)
    date.fromisoformat(one.documentation.looked_at)
    assert one.claims <= relying_parties.ALWAYS
    assert warnings(tmp_path, party) == []


@pytest.mark.parametrize("party", names())
def test_each_entry_is_in_the_page_and_has_a_guide(party: str) -> None:
    assert f'`"{party}"`' in (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize(
    ("party", "more", "expected"),
    [
        ("aws", 'algorithm = "EdDSA"', "algorithm: AWS STS, AssumeRoleWithWebIdentity accepts ES256,"),
        ("azure", 'algorithm = "ES256"', "algorithm: Microsoft Entra, workload identity federation accepts RS256, not"),
        ("kubernetes", 'algorithm = "EdDSA"', "algorithm: Kubernetes"),
        ("vault", 'algorithm = "EdDSA"', ""),
        ("anthropic", 'max_lifetime = "2h"', "max_lifetime: Claude API"),
        ("gcp", 'max_lifetime = "24h"', ""),
        ("anthropic", 'reuse_window = "30s"', "reuse_window: Claude API"),
        ("openai", 'reuse_window = "30s"', ""),
        ("aws", "max_token_bytes = 30000", "max_token_bytes: AWS"),
        ("aws", 'bound = "dpop"', "bound: AWS STS, AssumeRoleWithWebIdentity does not check the binding"),
        ("aws", 'relying_party_keys = "uploaded"', "relying_party_keys: AWS"),
        ("gcp", 'relying_party_keys = "uploaded"', "relying_party_keys: an uploaded key set is a snapshot"),
    ],
)
def test_an_audience_beyond_a_limit_has_a_warning(tmp_path: Path, party: str, more: str, expected: str) -> None:
    found = warnings(tmp_path, party, more)
    assert found[0].startswith(expected) if expected else found == []


def test_another_audience_than_the_party_expects(tmp_path: Path) -> None:
    assert "expects another audience: api://AzureADTokenExchange" in warnings(tmp_path, "azure", audience="orders")[0]


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("http://127.0.0.1:8080", "relying_party: AWS STS, AssumeRoleWithWebIdentity fetches keys over https"),
        ("https://t.example:8443", "relying_party: AWS STS, AssumeRoleWithWebIdentity accepts no issuer with a port"),
        (
            "https://t.example/" + "x" * 255,
            "relying_party: AWS STS, AssumeRoleWithWebIdentity accepts an issuer of 255",
        ),
        ("https://t.example/a:8443", ""),
    ],
)
def test_an_issuer_that_the_party_can_not_use(tmp_path: Path, issuer: str, expected: str) -> None:
    found = warnings(tmp_path, "aws", issuer=issuer)
    assert found[0].startswith(expected) if expected else found == []


@pytest.mark.parametrize(
    ("party", "more", "keys", "warned"),
    [
        ("aws", "", "", False),
        ("aws", "", 'verifier_cache = "1h"', True),
        ("aws", "", 'verifier_cache = "1h"\npublish_ahead = "25h"', False),
        ("kubernetes", "", 'verifier_cache = "1h"', False),
        ("vault", "", 'verifier_cache = "1h"', False),
        ("gcp", 'relying_party_keys = "uploaded"', 'publish_ahead = "6d"', True),
        ("gcp", 'relying_party_keys = "uploaded"', 'publish_ahead = "7d"', False),
        ("gcp", 'relying_party_keys = "uploaded"', 'publish_ahead = "7d"\nverifier_cache = "1h"', False),
    ],
)
def test_a_rotation_that_is_faster_than_what_the_party_keeps(
    tmp_path: Path, party: str, more: str, keys: str, warned: bool
) -> None:
    assert bool(warnings(tmp_path, party, more, keys=keys)) is warned


@pytest.mark.parametrize(
    ("party", "more", "problem"),
    [
        ("asw", "", "relying_party: there is none: did you mean aws?"),
        ("aws", '[audiences."sts.amazonaws.com".reference]', "verifies JWTs, and [reference] mints others"),
        (
            "aws",
            '[audiences."sts.amazonaws.com".spiffe]\n[spiffe]\ntrust_domain = "t.example"',
            "verifies JWTs, and [spiffe] mints others",
        ),
    ],
)
def test_what_no_party_verifies_is_refused(tmp_path: Path, party: str, more: str, problem: str) -> None:
    text = HEAD.format(party=party, more=more, keys="", audience="sts.amazonaws.com", issuer="https://t.example")
    (tmp_path / "tokenmint.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "tokenmint.toml", {})
    assert problem in str(caught.value)


def test_a_party_that_needs_a_claim(tmp_path: Path) -> None:
    party: dict[str, Any] = {
        "title": "X", "audience": ".+", "audience_help": "any", "claims": ["sub", "tenant"],
        "documentation": {"about": "", "pages": [], "looked_at": ""},
    }  # fmt: skip
    text = HEAD.format(party="x", more="", keys="", audience="x", issuer="https://t.example")
    settings = load_without_party(tmp_path, text)
    file, audiences, schedule = settings
    parties = {"x": RelyingParty.model_validate(party)}
    problems: list[str] = []
    found = relying_parties.judge(file, audiences, schedule, problems, parties)
    assert (problems, found) == ([], ["audiences.x.claims: X needs tenant"])


def load_without_party(tmp_path: Path, text: str) -> tuple[Any, Any, Any]:
    """The parts of a configuration that names a party which is not shipped."""
    path = tmp_path / "tokenmint.toml"
    path.write_text(text.replace('relying_party = "x"\n', ""))
    settings = load(path, {})
    file = file_table(tables(shipped())).model_validate(tomllib.loads(text))
    return file, settings.audiences, settings.schedule
