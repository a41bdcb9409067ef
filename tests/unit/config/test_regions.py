"""The table of regions: what `config check` refuses, and why."""

import json
from pathlib import Path

import pytest
from tests.regions import make_identity, table, write_files

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.config.regions import epoch_base
from tokenmint.config.settings import Settings

HEAD = 'issuer = "https://tokens.example"\n'
NAMES = ("eu", "us", "authority")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A folder with the files of the region `eu`."""
    made = {name: make_identity(name) for name in NAMES}
    write_files(
        tmp_path, {name: pem for name, (pem, _) in made.items()}, {n: one for n, (_, one) in made.items()}, "eu"
    )
    return tmp_path


def loaded(directory: Path, text: str) -> Settings:
    """Load a configuration."""
    config = directory / "tokenmint.toml"
    config.write_text(text)
    return load(config, {})


def problems(directory: Path, text: str) -> str:
    """Return the problems of a configuration."""
    with pytest.raises(ConfigurationError) as refused:
        loaded(directory, text)
    return "\n".join(refused.value.problems)


def test_other_regions_make_p_longer_by_l(directory: Path) -> None:
    alone = loaded(directory, HEAD)
    settings = loaded(directory, HEAD + table("eu", {"us": 8080}))
    assert settings.schedule.least_ahead == alone.schedule.least_ahead + 120
    assert settings.regions.name == "eu"
    assert list(settings.regions.others) == ["us"]


def test_a_name_alone_changes_only_key_ids(directory: Path) -> None:
    settings = loaded(directory, HEAD + '[regions]\nname = "eu"\n')
    assert settings.regions.name == "eu"
    assert settings.schedule == loaded(directory, HEAD).schedule


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('name = "eu"\n', "", "regions.name: is required"),
        ('key_file = "eu.pem"\n', "", "regions.key_file: is required"),
        ('authority_file = "authority.jwks.json"\n', "", "regions.authority_file: is required"),
        (HEAD, "", "issuer: is required with other regions"),
        ('name = "eu"', 'name = "EU"', "regions.name"),
        ('name = "eu"', 'name = "us"', "is this region itself"),
        ("[regions.others.us]", "[regions.others.US]", "a region's name has a-z"),
        ('longest_cut = "2m"', 'longest_cut = "72s"', "keys.replica_lag + keys.skew + 3 * regions.poll = 1m13s"),
        ('poll = "1s"', 'poll = "0s"', "regions.poll"),
        ("http://127.0.0.1:8080", "http://10.0.0.1:8080", "expected https"),
        ("allow_private = true", "", "expected https"),
        ("http://127.0.0.1:8080", "https://us.example/", "trailing slash"),
        ("http://127.0.0.1:8080", "ftp://us.example", "regions.others.us.url"),
        ("eu.pem", "eu.jwks.json", "is not a private key in PEM"),
        ("eu.pem", "none.pem", "regions.key_file"),
        ("us.jwks.json", "none.json", "regions.others.us.keys_file"),
        ("us.jwks.json", "eu.pem", "is not a JWK set"),
        ("us.jwks.json", "eu.jwks.json", "has a key of regions.key_file"),
        ("us.jwks.json", "authority.jwks.json", "has a key of regions.authority_file"),
        ("authority.jwks.json", "eu.jwks.json", "has a key of regions.key_file"),
        ("allow_private = true", 'allow_private = true\nca_file = "none.pem"', "none.pem"),
        ("allow_private = true", "allow_private = true\nkeys = 1", "there is no such key"),
    ],
)
def test_a_mistake_is_named(directory: Path, before: str, after: str, problem: str) -> None:
    text = HEAD + table("eu", {"us": 8080})
    assert before in text
    assert problem in problems(directory, text.replace(before, after, 1))


def test_status_lists_are_of_one_region(directory: Path) -> None:
    text = HEAD + '[audiences."https://api.example"]\nclients = []\nstatus_list = true\n' + table("eu", {"us": 8080})
    assert "a list is of one region" in problems(directory, text)


def test_the_pinned_keys_are_renewed(directory: Path) -> None:
    settings = loaded(directory, HEAD + table("eu", {"us": 8080}))
    _, new = make_identity("us")
    (directory / "us.jwks.json").write_text(json.dumps({"keys": [new.public_jwk]}))
    pinned = settings.regions.others["us"].keys
    assert pinned.look(unconditionally=True)
    assert [key.thumbprint for key in pinned.value.keys] == [new.public_jwk["kid"]]


def test_a_place_in_one_regions_log_is_none_in_anothers() -> None:
    assert epoch_base("") == 0
    bases = {epoch_base(name) for name in ("eu", "us", "ap", "sa", "af")}
    assert len(bases) == 5
    assert all(2048 <= base < 10**10 for base in bases)
