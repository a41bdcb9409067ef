"""URLs in the configuration: `config check` names the key and the mistake, before anything serves."""

from pathlib import Path

import pytest
from tests.forked import run_forked
from tests.process import configure

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load

PROVIDER = """
[providers.idp]
audiences = ["app"]
issuer = "https://idp.example"
{key} = "{url}"
"""
CLIENT = """
[clients.c]
{key} = "{url}"
"""
BAD = [
    ("https://x.example:99999/", "its port is not a number from 1 to 65535"),
    ("https://x.example:0/", "its port is not a number from 1 to 65535"),
    ("https://[::1", "brackets"),
    ("https://a..b/", "its host is not a name"),
    (f"https://{'a' * 64}.example/", "its host is not a name"),
    ("https://user:pass@x.example/", "a user or a password"),
    ("https://x.example/\\u0000", "a character that is not allowed in URLs"),
    ("https://bücher.example/", "characters beyond ASCII"),
    ("ftp://x.example/", "begins with https://"),
    ("http://x.example/", "expected https"),
    ("https://x.example/" + "x" * 3000, "longer than 2048 bytes"),
]


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "tokenmint.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load(file, {})
    return list(error.value.problems)


@pytest.mark.parametrize(("url", "words"), BAD)
@pytest.mark.parametrize(
    ("table", "key", "path"),
    [
        (PROVIDER, "jwks_url", "providers.idp.jwks_url"),
        (PROVIDER, "x509_url", "providers.idp.x509_url"),
        (PROVIDER, "discovery_url", "providers.idp.discovery_url"),
        (CLIENT, "jwks_url", "clients.c.jwks_url"),
    ],
)
def test_the_key_and_the_mistake_are_named(
    tmp_path: Path, table: str, key: str, path: str, url: str, words: str
) -> None:
    found = problems(tmp_path, table.format(key=key, url=url))
    assert any(line.startswith(f"{path}: ") and words in line for line in found), found
    assert not any(url in line for line in found)


@pytest.mark.parametrize(("url", "words"), BAD)
def test_an_issuer_that_is_discovered(tmp_path: Path, url: str, words: str) -> None:
    text = f'[providers.idp]\naudiences = ["app"]\nissuer = "{url}"\n'
    found = problems(tmp_path, text)
    assert any(line.startswith("providers.idp.issuer: ") and words in line for line in found), found


@pytest.mark.parametrize("url", [url for url, _ in BAD if not url.startswith("http://")])
def test_our_own_issuer(tmp_path: Path, url: str) -> None:
    found = problems(tmp_path, f'issuer = "{url.removesuffix("/")}"\n')
    assert any(line.startswith("issuer: ") for line in found), found


def test_an_endpoint_of_a_key_management_service(tmp_path: Path) -> None:
    found = problems(tmp_path, '[keys.aws_kms]\nendpoint_url = "https://x.example:99999"\n')
    assert any(line.startswith("keys.aws_kms.endpoint_url: its port") for line in found), found


@pytest.mark.slow
def test_config_check_ends_with_the_line(tmp_path: Path) -> None:
    config = configure(tmp_path, extra='\n[clients.other]\njwks_url = "https://x.example:99999/"\n')
    checked = run_forked("config", "check", "--config", str(config), directory=tmp_path)
    assert checked.returncode == 2
    assert "clients.other.jwks_url: its port is not a number from 1 to 65535" in checked.stdout + checked.stderr
