"""The SDK's requests to Google: through the proxy of the configuration, and never through one of the environment."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from requests import Session
from requests.exceptions import RequestException
from tests.http_servers import Handler, running
from tests.issuer import rsa_key
from tests.providers import ProxySeen, ending_tls, proxy
from tests.tls import authority

from tokenmint.base.tls_files import client_tls
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.firebase.clients import FirebaseClients, ask_about_user
from tokenmint.firebase.routes import route
from tokenmint.model.firebase import FirebaseProject
from tokenmint.process.rules import files_of

HOSTS = (
    "oauth2.googleapis.com", "identitytoolkit.googleapis.com", "iamcredentials.googleapis.com", "sts.googleapis.com",
    "cloudresourcemanager.googleapis.com",
)  # fmt: skip
TOKEN, LOOK_UP, SIGN, *_ = (f"CONNECT {host}:443" for host in HOSTS)
EMAIL = "signer@demo-app.iam.gserviceaccount.com"
ENVIRONMENT = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
CONFIG = """
{top}
[providers.fire]
use = "firebase"
project = "demo-app"
check_revoked = true
service_account_file = "reader.json"
{own}
[audiences."https://fire.example"]
clients = ["web"]
providers = ["fire"]
[audiences."https://fire.example".firebase]
project = "demo-app"
service_account = "signer@demo-app.iam.gserviceaccount.com"

[clients.web]
secrets = ["sha256:{zeros}"]
"""


class Google(Handler):
    """The answers of the token endpoint, Identity Toolkit and IAM."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.give(404, b"{}")  # the boundaries of regions, which a thread of google-auth asks for

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {"signedBlob": "c2lnbmVk"}
        if self.path.endswith(":generateAccessToken"):
            answer = {"accessToken": "canary-4711", "expireTime": "2099-01-01T00:00:00Z"}
        elif self.path.endswith("/token"):
            answer = {"access_token": "canary-4711", "expires_in": 3600, "token_type": "Bearer"}
        elif self.path.endswith("accounts:lookup"):
            answer = {"users": [{"localId": "ada", "validSince": "0"}]}
        self.give(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def account() -> str:
    pem = rsa_key(0).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps(
        {
            "type": "service_account", "project_id": "demo-app", "private_key_id": "0", "private_key": pem,
            "client_email": EMAIL, "token_uri": "https://oauth2.googleapis.com/token",
        }
    )  # fmt: skip


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Ports by the names that lead to Google at a proxy."""
    ca = authority()
    (tmp_path / "public.crt").write_bytes(ca.pem)
    (tmp_path / "reader.json").write_text(account())
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "public.crt"))
    person = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "default.json").write_text(json.dumps(person))  # it can't sign, so IAM has to
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "default.json"))
    with running(Google, tls=ending_tls(tmp_path, ca, *HOSTS)) as port:
        look_up = socket.getaddrinfo

        def found(host: Any, at: Any, *rest: Any, **more: Any) -> Any:
            """Without a proxy the names lead to the same server, and others nowhere."""
            if host in HOSTS:
                return look_up("127.0.0.1", port, *rest, **more)
            if host in ("127.0.0.1", "localhost"):
                return look_up(host, at, *rest, **more)
            raise socket.gaierror(f"{host} is outside")

        monkeypatch.setattr(socket, "getaddrinfo", found)
        yield {f"{host}:443": port for host in HOSTS}


Configured = Callable[..., tuple[FirebaseProject, FirebaseProject]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Return the project that is asked about users, and the one that mints."""

    def of(top: str = "", own: str = "", **environ: str) -> tuple[FirebaseProject, FirebaseProject]:
        (tmp_path / "tokenmint.toml").write_text(CONFIG.format(top=top, own=own, zeros="0" * 64))
        settings = load(tmp_path / "tokenmint.toml", environ)
        users = settings.providers["fire"].users
        options: Any = settings.audiences["https://fire.example"].format.options
        assert users is not None
        return users, options.project

    return of


async def ask(project: FirebaseProject) -> None:
    await ask_about_user(FirebaseClients(), project, "ada", None, 1.0)


def mint(project: FirebaseProject) -> bytes | str:
    token: bytes | str = FirebaseClients().client(project).create_custom_token("ada")
    return token


def asked(seen: ProxySeen) -> list[str]:
    """Return the tunnels. A thread of google-auth asks IAM too, at a time of its own."""
    return [line.rpartition(" ")[0] for line, _ in seen.asked]


async def test_users_are_asked_about_and_tokens_signed_through_the_configured_proxy(
    google: dict[str, int], configured: Configured
) -> None:
    with proxy(google) as seen:
        users, minting = configured(f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"')
        await ask(users)
        assert [line for line in asked(seen) if line != SIGN] == [TOKEN, LOOK_UP]
        seen.asked.clear()
        assert mint(minting)
        assert {TOKEN, SIGN} <= set(asked(seen)) <= {TOKEN, SIGN, LOOK_UP}
    for plain in (b"canary-4711", b"HTTP/1.1 200 OK", b"accounts:lookup"):
        assert plain not in seen.passed


async def test_a_provider_has_a_proxy_of_its_own_or_none(google: dict[str, int], configured: Configured) -> None:
    with proxy(google) as shared, proxy(google) as own:
        top = f'[proxy]\nurl = "http://127.0.0.1:{shared.port}"'
        users, _ = configured(top, f'proxy = "http://127.0.0.1:{own.port}"')
        await ask(users)
        assert {TOKEN, LOOK_UP} <= set(asked(own))
        users, _ = configured(top, 'proxy = "none"')
        own.asked.clear()
        await ask(users)
        assert not asked(own)
    assert not asked(shared)


async def test_hosts_of_no_proxy_are_reached_directly(google: dict[str, int], configured: Configured) -> None:
    with proxy(google) as seen:
        top = f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"\nno_proxy = ["identitytoolkit.googleapis.com"]'
        users, _ = configured(top)
        await ask(users)
        assert TOKEN in asked(seen)
        assert LOOK_UP not in asked(seen)


async def test_the_environments_proxy_counts_only_where_a_setting_says_so(
    google: dict[str, int], configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with proxy(google) as seen:
        place = f"http://127.0.0.1:{seen.port}"
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, place)
        users, minting = configured(HTTPS_PROXY=place)
        await ask(users)
        assert mint(minting)
        assert not asked(seen)
        users, minting = configured("[proxy]\nenvironment = true", HTTPS_PROXY=place)
        await ask(users)
        assert {TOKEN, LOOK_UP} <= set(asked(seen))
        assert mint(minting)


PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
AS_SIGNER = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
DEFAULTS: dict[str, dict[str, Any]] = {
    "a person": PERSON,
    "a person as a service account": {
        "type": "impersonated_service_account",
        "source_credentials": PERSON,
        "service_account_impersonation_url": AS_SIGNER,
        "delegates": [],
    },
    "a workload as a service account": {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "default.json"},
        "service_account_impersonation_url": AS_SIGNER,
    },
}


@pytest.mark.parametrize("kind", DEFAULTS)
@pytest.mark.parametrize("through", [True, False], ids=["the configured proxy", "none"])
async def test_default_credentials_of_each_kind_ask_through_the_configured_proxy_alone(
    kind: str,
    through: bool,
    google: dict[str, int],
    configured: Configured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default.json").write_text(json.dumps(DEFAULTS[kind]))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy(google) as seen, proxy(google) as others:
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, f"http://127.0.0.1:{others.port}")
        _, minting = configured(f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"' if through else "")
        assert mint(minting)
        assert (SIGN in asked(seen)) is through
        assert not asked(others)


def fetched(settings: Settings) -> Session:
    """Return a session with the SDK's routes and without its retries, which wait."""
    session = Session()
    route(session, settings.proxy, client_tls("test", {}).value)
    return session


def fetch(session: Session) -> int:
    return session.post(f"https://{HOSTS[0]}/token", data=b"{}", timeout=10).status_code


def test_the_proxy_gets_the_login_of_its_renewed_file(
    google: dict[str, int], configured: Configured, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("first p:a%ss@")
    with proxy(google, login=["us er:first p:a%ss@", "us er:second"]) as seen:
        configured(f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"\nusername = "us er"\npassword_file = "password"\n')
        settings = load(tmp_path / "tokenmint.toml", {})
        session = fetched(settings)
        assert fetch(session) == 200
        secret.write_text("third")
        assert any(file.look() for file in files_of(settings))
        with pytest.raises(RequestException, match="407") as refused:
            fetch(session)
        assert "third" not in str(refused.value)
        secret.write_text("second")
        assert any(file.look() for file in files_of(settings))
        assert fetch(session) == 200
        assert len({headers["proxy-authorization"] for _, headers in seen.asked}) == 3


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_to_the_proxy_trusts_its_ca_file_alone(
    google: dict[str, int], configured: Configured, tmp_path: Path, trusted: bool
) -> None:
    """A certificate of a public authority for the proxy's name is not accepted in place of its own."""
    of_proxy, public = authority("Of the proxy"), authority("Public")
    (tmp_path / "public.crt").write_bytes((tmp_path / "public.crt").read_bytes() + public.pem)
    (tmp_path / "proxy.crt").write_bytes(of_proxy.pem)
    (tmp_path / "proxy").mkdir()
    with proxy(google, tls=ending_tls(tmp_path / "proxy", of_proxy if trusted else public, "localhost")) as seen:
        configured(f'[proxy]\nurl = "https://localhost:{seen.port}"\nca_file = "proxy.crt"')
        session = fetched(load(tmp_path / "tokenmint.toml", {}))
        if trusted:
            assert fetch(session) == 200
            assert asked(seen) == [TOKEN]
        else:
            with pytest.raises(RequestException, match="CERTIFICATE_VERIFY_FAILED"):
                fetch(session)
            assert not asked(seen)
