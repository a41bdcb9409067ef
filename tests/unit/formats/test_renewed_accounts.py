"""Google's service accounts in files: judged with the configuration, and followed while the service runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.issuer import ec_key, rsa_key

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.process.rules import files_of

CONFIG = """
[providers.fire]
use = "firebase"
project = "demo-app"
check_revoked = true
service_account_file = "reader.json"

[audiences."https://fire.example"]
clients = ["web"]
providers = ["fire"]
[audiences."https://fire.example".firebase]
project = "demo-app"
service_account_file = "minter.json"

[clients.web]
public = true
"""


def account(index: int, **changes: Any) -> str:
    pem = rsa_key(index).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    made = {
        "type": "service_account", "project_id": "demo-app", "private_key_id": str(index), "private_key": pem,
        "client_email": f"a{index}@demo-app.example", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    return json.dumps({**made, **changes})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tokenmint.toml").write_text(CONFIG.replace("public = true", 'secrets = ["sha256:' + "0" * 64 + '"]'))
    for name in ("reader", "minter"):
        (tmp_path / f"{name}.json").write_text(account(0))
    return tmp_path / "tokenmint.toml"


def test_a_renewed_account_is_used_by_the_next_call_and_a_broken_one_by_none(config: Path, tmp_path: Path) -> None:
    settings = load(config, {})
    files = files_of(settings)
    assert len(files) == 2
    users = settings.providers["fire"].users
    options: Any = settings.audiences["https://fire.example"].format.options
    clients = FirebaseClients()
    for project, name in ((users, "reader"), (options.project, "minter")):
        assert project is not None
        before = clients.client(project)
        assert clients.client(project) is before
        path = tmp_path / f"{name}.json"
        for broken in ("", "{}", account(1)[:-40], account(1, private_key="no key")):
            path.write_text(broken)
            assert not any(file.look() for file in files)
            assert clients.client(project) is before
            [problem] = [file.problem for file in files if file.problem]
            assert problem.startswith(f"{'firebase.' if name == 'minter' else ''}service_account_file: ")
            assert "PRIVATE KEY" not in problem
        path.write_text(account(1))
        assert any(file.look() for file in files)
        assert clients.client(project) is not before


def test_a_reload_tells_no_change_where_only_the_content_is_new(config: Path, tmp_path: Path) -> None:
    from tokenmint.config import changes

    first = load(config, {})
    (tmp_path / "reader.json").write_text(account(1))
    (tmp_path / "minter.json").write_text(account(1))
    second = load(config, {})
    assert changes.between(first, second, started_with=first) == {"taken_over": [], "needs_restart": []}
    (tmp_path / "other.json").write_text(account(1))
    config.write_text(config.read_text().replace("reader.json", "other.json"))
    assert changes.between(first, load(config, {}), started_with=first)["taken_over"] == ["providers.fire"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read"),
        ("{}", "is not a service account"),
        (account(0, private_key="x"), "is not a service account"),
        (account(0, type="authorized_user"), "is not a service account"),
        ("EC", "not an RSA key"),
    ],
)
def test_a_file_of_no_use_is_a_mistake_of_the_configuration(
    config: Path, tmp_path: Path, content: str | None, words: str
) -> None:
    if content == "EC":
        pem = ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        content = account(0, private_key=pem)
    for name in ("reader", "minter"):
        path = tmp_path / f"{name}.json"
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        load(config, {})
    problems = [line for line in refused.value.problems if words in line]
    assert [line.partition(": ")[0] for line in problems] == [
        "providers.fire.service_account_file",
        'audiences."https://fire.example".firebase.service_account_file',
    ]
    assert "PRIVATE KEY" not in str(refused.value.problems)


def test_an_account_of_another_project_may_ask_about_users_and_not_mint(config: Path, tmp_path: Path) -> None:
    (tmp_path / "reader.json").write_text(account(0, project_id="another"))
    assert load(config, {})
    (tmp_path / "minter.json").write_text(account(0, project_id="another"))
    with pytest.raises(ConfigurationError, match="belongs to another project than 'demo-app'"):
        load(config, {})
