"""`tokenmint providers add` against real issuers over HTTPS."""

import json
import ssl
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.issuer import Issuer, ec_key, jwk
from tests.providers import NAME, Documents, discovery, provider, proxy
from typer.testing import CliRunner

from tokenmint.cli import app, run
from tokenmint.config.load import load

pytestmark = pytest.mark.slow


@pytest.fixture
def idp(tls: ssl.SSLContext) -> Iterator[Documents]:
    with provider(tls, jwks=Issuer().jwks()) as documents:
        documents.served["/.well-known/openid-configuration"] = discovery(documents.url(), documents.url("/jwks"))
        yield documents


def add(*arguments: str) -> tuple[int, str, str]:
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command()
    def invoke() -> None:
        raise typer.Exit(run(lambda: app(["providers", "add", *arguments])))

    done = CliRunner().invoke(wrapper, [], env={"COLUMNS": "200"})
    return done.exit_code, done.stdout, done.stderr


def test_the_printed_table_is_refused_until_it_is_decided_and_then_works(idp: Documents, tmp_path: Path) -> None:
    issuer, ca_file = idp.url(), str(tmp_path / "ca.crt")
    status, out, err = add(issuer, "--allow-private", "--ca-file", ca_file, "--name", "partner")
    assert (status, err) == (0, "")
    config = tmp_path / "tokenmint.toml"
    config.write_text(out)
    [problem] = [line for line in _problems(config) if "CHANGE-ME" in line]
    assert problem.startswith("providers.partner.audiences")
    config.write_text(out.replace("CHANGE-ME", "app"))
    made = load(config, {}).providers["partner"]
    assert (list(made.issuers), sorted(made.audiences)) == ([issuer], ["app"])
    assert (made.key_source.ca_file, made.key_source.allow_private) == (ca_file, True)
    assert [path for path, _ in idp.asked] == ["/.well-known/openid-configuration"] * 2 + ["/jwks"]


def _problems(config: Path) -> list[str]:
    from tokenmint.base.errors import ConfigurationError

    with pytest.raises(ConfigurationError) as refused:
        load(config, {})
    return list(refused.value.problems)


def test_json_has_the_same_table(idp: Documents, tmp_path: Path) -> None:
    arguments = (idp.url(), "--allow-private", "--ca-file", str(tmp_path / "ca.crt"))
    document = json.loads(add(*arguments, "-o", "json")[1])
    assert document["table"] + "\n" == add(*arguments)[1]
    assert list(tomllib.loads(document["table"])["providers"]) == ["localhost"]


@pytest.mark.parametrize("name", ["\U0001f511", "\xe9", "a.b", 'x"]\n[operators.y]\n', "\x7f"])
def test_every_name_is_a_key_of_the_table(idp: Documents, tmp_path: Path, name: str) -> None:
    ca_file = tmp_path / "\U0001f511.crt"
    ca_file.write_bytes((tmp_path / "ca.crt").read_bytes())
    _, out, _ = add(idp.url(), "--allow-private", "--ca-file", str(ca_file), "--name", name)
    [made] = tomllib.loads(out)["providers"].items()
    assert (made[0], made[1]["ca_file"]) == (name, str(ca_file))


def test_keys_of_other_algorithms_than_the_default_bring_the_setting(idp: Documents, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    keys = [jwk(ec.generate_private_key(ec.SECP384R1()), kid="a"), {**jwk(ec_key(), kid="b"), "use": "enc"}]
    idp.served["/jwks"] = json.dumps({"keys": keys}).encode()
    _, out, _ = add(idp.url(), "--allow-private", "--ca-file", str(tmp_path / "ca.crt"))
    assert tomllib.loads(out)["providers"]["localhost"]["algorithms"] == ["ES384"]
    assert "with 1 key that" in out


def test_a_shipped_issuer_needs_no_fetch() -> None:
    status, out, err = add("https://accounts.google.com")
    assert (status, err) == (0, "")
    assert 'use = "google"' in out
    assert "CHANGE-ME" in out


@pytest.mark.parametrize(
    ("issuer", "line"),
    [
        ("https://acme.eu.auth0.com", 'domain = "acme.eu.auth0.com"'),
        ("https://login.corp.example/realms/staff/", 'realm = "staff"'),
        (
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCd12345/",
            'user_pool = "eu-central-1_AbCd12345"',
        ),
    ],
)
def test_a_shipped_issuer_is_found_with_or_without_the_slash_at_its_end(issuer: str, line: str) -> None:
    status, out, err = add(issuer)
    assert (status, err) == (0, "")
    assert line in out


def test_a_shipped_issuer_keeps_the_settings_of_its_fetches(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    place = "http://proxy.example:3128"
    arguments = ("--allow-private", "--ca-file", str(tmp_path / "ca.crt"), "--proxy", place)
    status, out, _ = add("https://login.example.com/realms/staff", *arguments)
    table = tomllib.loads(out)["providers"]["keycloak"]
    assert (status, table["use"], table["realm"]) == (0, "keycloak", "staff")
    assert (table["allow_private"], table["ca_file"], table["proxy"]) == (True, str(tmp_path / "ca.crt"), place)


def test_the_url_of_a_discovery_document_stands_for_its_issuer(idp: Documents, tmp_path: Path) -> None:
    document = "/.well-known/openid-configuration"
    fetched = ("--allow-private", "--ca-file", str(tmp_path / "ca.crt"))
    for output in ("text", "json"):
        assert add(idp.url() + document, *fetched, "-o", output) == add(idp.url(), *fetched, "-o", output)
    assert add("https://login.example.com/realms/staff" + document) == add("https://login.example.com/realms/staff")


def test_of_two_shipped_entries_the_more_exact_one_is_drafted_and_both_where_neither_is() -> None:
    personal = add("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")[1]
    assert list(tomllib.loads(personal)["providers"]) == ["microsoft-personal"]
    google = add("https://accounts.google.com")[1]
    assert list(tomllib.loads(google)["providers"]) == ["google", "google-service-account"]


def test_a_proxy_is_used_where_it_is_named(idp: Documents, tmp_path: Path) -> None:
    issuer = f"https://{NAME}"
    idp.served["/.well-known/openid-configuration"] = discovery(issuer, f"{issuer}/jwks")
    with proxy({f"{NAME}:443": idp.port}) as seen:
        place = f"http://127.0.0.1:{seen.port}"
        status, out, err = add(issuer, "--ca-file", str(tmp_path / "ca.crt"), "--proxy", place)
    assert (status, err) == (0, "")
    assert len(seen.asked) == 3
    assert tomllib.loads(out)["providers"]["login-partner-example"]["proxy"] == place


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        (None, 3, "answered 404"),
        (b"<html>", 1, "discovery document"),
        (b"{}", 1, "names another issuer, None"),
        (discovery("https://other.example", "https://x.example/"), 1, "names another issuer, 'https://other.example'"),
        ("no jwks_uri", 1, "names no jwks_uri"),
        ("no keys", 3, "answered 404"),
    ],
)
def test_documents_of_no_use_are_told(
    idp: Documents, tmp_path: Path, document: bytes | str | None, status: int, words: str
) -> None:
    path = "/.well-known/openid-configuration"
    if document is None:
        del idp.served[path]
    elif document == "no jwks_uri":
        idp.served[path] = json.dumps({"issuer": idp.url()}).encode()
    elif document == "no keys":
        idp.served[path] = discovery(idp.url(), idp.url("/none"))
    elif isinstance(document, bytes):
        idp.served[path] = document
    failed = add(idp.url(), "--allow-private", "--ca-file", str(tmp_path / "ca.crt"))
    assert failed[:2] == (status, "")
    assert words in failed[2]


def test_mistakes_are_lines_with_a_way_out(idp: Documents, tmp_path: Path) -> None:
    for arguments, words in (
        (("login.example.com",), "begins with https://"),
        (("https://u:p@login.example.com",), "a user or a password"),
        (("http://login.example.com",), "expected https: http is for loopback alone, with --allow-private"),
        (("http://login.example.com", "--allow-private"), "expected https"),
        (("http://127.0.0.1:1",), "with --allow-private"),
        (("https://login.example.com", "--ca-file", str(tmp_path / "none")), "ca_file: can't be read"),
        (("https://login.example.com", "--proxy", "socks://x"), "proxy: "),
    ):
        status, out, err = add(*arguments)
        assert (status, out) == (2, "")
        assert words in err
    status, _, err = add(idp.url(), "--ca-file", str(tmp_path / "ca.crt"))
    assert (status, "not public" in err, "this command has --allow-private" in err) == (1, True, True)
    status, _, err = add(idp.url(), "--allow-private")  # its certificate is of a private authority
    assert (status, "; this command has --ca-file" in err) == (3, True)
    assert not idp.asked
