"""OAuth clients that nobody here wrote, at the real endpoints: google-auth and Authlib."""

import importlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.issuer import Issuer, serving
from tests.process import CLIENT, Service

AUDIENCE = "https://orders.example"
CONFIG = """
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[oauth]
enabled = true

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences."https://orders.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read", "write"]
on_missing_profile = "create"

[clients.web]
secrets = ["sha256:{client}"]
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serving(Issuer()) as running:
        yield running


@pytest.fixture(scope="module")
def service(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("oauth")
    config = CONFIG.format(issuer=issuer.url, client=CLIENT.fingerprint())
    (directory / "tokenmint.toml").write_text(config)
    with Service(directory) as running:
        yield running


def url(service: Service, path: str) -> str:
    return f"http://{service.listen['http']}/oauth2/{path}"


def google_credentials(service: Service, file: Path) -> Any:
    from google.auth import identity_pool

    return identity_pool.Credentials(  # type: ignore[no-untyped-call]  # untyped there
        audience=AUDIENCE, subject_token_type="urn:ietf:params:oauth:token-type:id_token",
        token_url=url(service, "token"), credential_source={"file": str(file)}, client_id="web",
        client_secret=CLIENT.reveal(), scopes=["read"],
    )  # fmt: skip


def test_google_auth_obtains_and_refreshes(service: Service, issuer: Issuer, tmp_path: Path) -> None:
    from google.auth import exceptions
    from google.auth.transport.requests import Request
    from requests import Session

    file = tmp_path / "id-token"
    file.write_text(issuer.token(time.time()))
    credentials = google_credentials(service, file)
    with Session() as session:
        transport = Request(session)
        credentials.refresh(transport)
        first = credentials.token
        claims = jwt.decode(first, options={"verify_signature": False})
        assert (claims["aud"], claims["client_id"], claims["scope"]) == (AUDIENCE, "web", "read")
        assert credentials.valid
        credentials.refresh(transport)
        assert credentials.token != first
        file.write_text(issuer.token(time.time() - 4000))
        with pytest.raises(exceptions.OAuthError, match="invalid_request"):
            credentials.refresh(transport)


def test_authlib_introspects_and_revokes(service: Service, issuer: Issuer) -> None:
    try:
        client: Any = importlib.import_module("authlib.integrations.requests_client")
    except ImportError:
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail("Authlib is not installed: `make test-interop` installs it")
        pytest.skip("Authlib is not installed: `make test-interop` installs it")
    with client.OAuth2Session("web", CLIENT.reveal(), token_endpoint_auth_method="client_secret_basic") as session:
        grant = "urn:ietf:params:oauth:grant-type:token-exchange"
        token = session.fetch_token(
            url(service, "token"), grant_type=grant, subject_token=issuer.token(time.time()), audience=AUDIENCE,
            subject_token_type="urn:ietf:params:oauth:token-type:id_token",
        )["access_token"]  # fmt: skip

        def ask() -> dict[str, Any]:
            answer = session.introspect_token(url(service, "introspect"), token=token)
            told: dict[str, Any] = json.loads(answer.content)
            return told

        told = ask()
        assert (told["active"], told["aud"], told["client_id"]) == (True, AUDIENCE, "web")
        assert session.revoke_token(url(service, "revoke"), token=token).status_code == 200
        assert ask() == {"active": False}
        assert session.revoke_token(url(service, "revoke"), token=token).status_code == 200  # RFC 7009 section 2.2
