"""The examples of docs/providers.md are configurations that the service accepts."""

import tomllib
from pathlib import Path

import pytest
from tests.pages import ROOT, texts
from tests.tls import authority

from tokenmint.config.load import load

EXAMPLES = texts(ROOT / "docs" / "providers.md", "toml")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: "+".join(tomllib.loads(text)["providers"]))
def test_each_example_is_accepted(example: str, tmp_path: Path) -> None:
    for name in ("corp-ca.pem", "cluster-ca.pem"):
        (tmp_path / name).write_bytes(authority().pem)
    (tmp_path / "key-reader.token").write_text("token")
    config = tmp_path / "tokenmint.toml"
    config.write_text(example)
    settings = load(config, {})
    assert settings.providers.keys() == tomllib.loads(example)["providers"].keys()


def test_the_two_policies_are_refused_without_where(tmp_path: Path) -> None:
    from tokenmint.base.errors import ConfigurationError

    [example] = [text for text in EXAMPLES if "B2C_1_edit" in text]
    config = tmp_path / "tokenmint.toml"
    config.write_text("".join(line for line in example.splitlines(True) if not line.startswith("where")))
    with pytest.raises(ConfigurationError, match="nothing distinguishes their tokens"):
        load(config, {})
