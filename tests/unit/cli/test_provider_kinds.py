"""Commands offer the kinds of tokens that they take: `providers test` those of a provider, `token exchange` all."""

import time
from pathlib import Path
from typing import get_args

from tests.issuer import Issuer
from typer.testing import CliRunner

from tokenmint.admission.validation import SUBJECT_TOKEN_TYPES
from tokenmint.cli import app
from tokenmint.cli.token_files import ActorKind, Kind, ProvidersKind, requested_type, token_type
from tokenmint.config.entries import TOKEN_TYPES
from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import ID_JAG, JWT, TXN_TOKEN

IDP = Issuer(url="https://partner.example")
ME = "https://me.example"


def test_the_kinds_are_those_of_the_configuration() -> None:
    assert set(get_args(ProvidersKind)) == TOKEN_TYPES.keys()
    assert all(token_type(kind) == urn for kind, urn in TOKEN_TYPES.items())


def test_every_kind_can_be_exchanged_and_explained_and_plain_ones_name_actors() -> None:
    assert set(get_args(Kind)) == {*get_args(ProvidersKind), "txn_token"}
    assert [token_type(kind) for kind in get_args(ActorKind)] == list(SUBJECT_TOKEN_TYPES)


def test_a_requested_kind_is_the_name_of_its_audiences_table() -> None:
    """A JWT authorization grant is minted as a JWT (draft-ietf-oauth-identity-chaining section 2.3.3)."""
    expected = {"jwt_grant": JWT, "id_jag": ID_JAG, "txn_token": TXN_TOKEN}
    assert {kind: requested_type(kind) for kind in expected} == expected


def test_the_check_names_the_format_of_an_audience_beside_the_algorithm(tmp_path: Path) -> None:
    config = tmp_path / "tokenmint.toml"
    config.write_text(
        f'issuer = "{ME}"\n[oauth]\nenabled = true\ndrafts = ["{IDENTITY_CHAINING}"]\n[providers.idp]\n'
        f'issuer = "{IDP.url}"\naudiences = ["app"]\njwks = \'{IDP.jwks().decode()}\'\n'
        '[audiences."https://as.example"]\nclients = ["web"]\nproviders = ["idp"]\n'
        '[audiences."https://as.example".jwt_grant]\n[audiences."https://api.example"]\nclients = ["web"]\n'
        f'providers = ["idp"]\n[clients.web]\nsecrets = ["sha256:{"0" * 64}"]\n'
    )
    found = CliRunner().invoke(app, ["config", "check", "--config", str(config)], env={"COLUMNS": "200"})
    rows = {line.split()[0]: line.split("  ")[1:] for line in found.output.splitlines() if line.startswith("https://")}
    kinds = {name: next(cell.strip() for cell in cells if cell.strip()) for name, cells in rows.items()}
    assert kinds == {"https://as.example": "ES256 jwt_grant", "https://api.example": "ES256"}


def test_a_transaction_token_is_no_kind_of_a_provider() -> None:
    found = CliRunner().invoke(app, ["providers", "test", "idp", "--kind", "txn_token"], env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert "'id_jag'" in found.output
    assert "'txn_token'" not in found.output.partition("is not one of")[2]


def test_an_id_jag_is_tried_as_one(tmp_path: Path) -> None:
    config, given = tmp_path / "tokenmint.toml", tmp_path / "token"
    config.write_text(
        f'issuer = "{ME}"\n[oauth]\nenabled = true\ndrafts = ["{IDENTITY_ASSERTION}"]\n[providers.idp]\n'
        f'issuer = "{IDP.url}"\naudiences = ["app"]\ntoken_types = ["id_jag"]\njwks = \'{IDP.jwks().decode()}\'\n'
    )
    given.write_text(IDP.token(time.time(), {"typ": "oauth-id-jag+jwt"}, aud=ME, jti="j", client_id="web"))
    words = ["providers", "test", "idp", "--config", str(config), "--token-file", str(given)]
    assert CliRunner().invoke(app, [*words, "--kind", "id_jag"]).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--kind", "id_token"]).exit_code == 1


def test_a_plain_grant_is_tried_as_one(tmp_path: Path) -> None:
    config, given = tmp_path / "tokenmint.toml", tmp_path / "token"
    config.write_text(
        f'issuer = "{ME}"\n[oauth]\nenabled = true\ndrafts = ["{IDENTITY_CHAINING}"]\n[providers.idp]\n'
        f'issuer = "{IDP.url}"\naudiences = ["app"]\ntoken_types = ["jwt_grant"]\njwks = \'{IDP.jwks().decode()}\'\n'
    )
    given.write_text(IDP.token(time.time(), aud=ME, jti="j"))
    words = ["providers", "test", "idp", "--config", str(config), "--token-file", str(given)]
    assert CliRunner().invoke(app, [*words, "--kind", "jwt_grant"]).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--kind", "jwt"]).exit_code == 1
