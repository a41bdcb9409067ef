"""The stand-ins for the things that each guide takes for granted: providers, their tokens, files that are there."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.guides import Setting, Walk
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.pages import ROOT
from tests.process import environment
from tests.signals import CAEP, RISC, logout_token, secevent
from tests.tls import authority


def keys(entry: str) -> tuple[str, str]:
    """Let an entry's keys be those of the issuer on loopback."""
    line = f'use = "{entry}"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


GOOGLE: dict[str, Any] = {
    "iss": "https://accounts.google.com", "aud": "1234-web.apps.googleusercontent.com", "sub": "110169484474386276334",
    "hd": "example.com", "email": "ada@example.com", "email_verified": True,
}  # fmt: skip

PARTNER: dict[str, Any] = {"iss": "https://login.partner.example", "aud": "web-app", "sub": "1842"}
SERVICE_ACCOUNT: dict[str, Any] = {
    "iss": "https://kubernetes.example.com", "aud": ["https://tokens.example.com"],
    "sub": "system:serviceaccount:apps:assistant",
    "kubernetes.io": {
        "namespace": "apps", "serviceaccount": {"name": "assistant", "uid": "0b5d2f5e-6a0e-4a3c-8c0a-7d1f6c5b9e11"}
    },
}  # fmt: skip
POD: dict[str, Any] = SERVICE_ACCOUNT | {
    "sub": "system:serviceaccount:tokenmint:default",
    "kubernetes.io": {
        "namespace": "tokenmint", "serviceaccount": {"name": "default", "uid": "6f0c1d52-9d0e-4b3a-8a39-0f5b1e2d7c44"}
    },
}  # fmt: skip
FIREBASE: dict[str, Any] = {
    "iss": "https://securetoken.google.com/my-project", "aud": "my-project", "sub": "rYqPw2bTtZ",
    "auth_time": 1700000000, "firebase": {"sign_in_provider": "password"},
}  # fmt: skip
TENANT, OBJECT = "0f2c1f4e-3c8b-4a57-9d57-9b8d1c1b7a10", "5c1b2a34-8d0e-4e57-b0d5-1b8f2f0e9c11"
ENTRA: dict[str, Any] = {
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "aud": "2d4d11a2-f814-46a7-890a-274a72a7309e",
    "sub": "pairwise", "tid": TENANT, "oid": OBJECT, "ver": "2.0", "upn": "ada@example.com",
}  # fmt: skip
USER: dict[str, Any] = ENTRA | {"scp": "Orders.Read", "azp": "11111111-2222-4333-8444-555555555555"}
VERSION_1: dict[str, Any] = ENTRA | {
    "scp": "Orders.Read", "appid": "11111111-2222-4333-8444-555555555555",
    "iss": f"https://sts.windows.net/{TENANT}/", "aud": "api://2d4d11a2-f814-46a7-890a-274a72a7309e", "ver": "1.0",
}  # fmt: skip
APPLICATION: dict[str, Any] = ENTRA | {
    "sub": "7", "oid": "e1b0d8a1-6a0c-4c51-b47c-2a0c1f5b8d11", "upn": None, "idtyp": "app", "roles": ["Jobs.Run"],
    "azp": "11111111-2222-4333-8444-555555555555",
}  # fmt: skip


def partner() -> tuple[str, str]:
    """Let any other provider's keys be those of the issuer on loopback."""
    line = 'issuer = "https://login.partner.example"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


def cluster() -> tuple[str, str]:
    """Let a cluster's keys be those of the issuer on loopback."""
    line = 'issuer = "https://kubernetes.example.com"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


def delegating(issuer: Issuer, now: float) -> Mapping[str, str]:
    """The tokens of a user and of a service that acts for it."""
    return {
        "id-token.txt": issuer.token(now, **PARTNER),
        "service-account.txt": issuer.token(now, **SERVICE_ACCOUNT),
    }


def orders_token(issuer: Issuer, now: float) -> Mapping[str, str]:
    """The token of a user of the application `orders-app`."""
    return {"id-token.txt": issuer.token(now, **PARTNER | {"aud": "orders-app"})}


def web_token(issuer: Issuer, now: float) -> Mapping[str, str]:
    """The tokens of users of the application `web-app`.

    Eve's clock is ahead: tokens of the second in which hers were revoked, a moment ago, would be refused.
    """
    return {"id-token.txt": issuer.token(now, **PARTNER), "eve.txt": issuer.token(now + 2, **PARTNER | {"sub": "7"})}


def grants(issuer: Issuer, now: float) -> Mapping[str, str]:
    """A user's ID token, and the grants of two other servers, which are used once each."""
    return {
        "id-token.txt": issuer.token(now, **PARTNER),
        "id-jag.txt": id_jag(issuer, now),
        "grant.txt": grant(issuer, now),
    }


def id_jag(issuer: Issuer, now: float, **changes: Any) -> str:
    """An ID-JAG of the partner for the client `web`."""
    claims = {
        "aud": "https://tokens.example.com", "client_id": "web", "jti": str(uuid4()), "scope": "orders.read",
        "resource": "https://orders.example.com",
    }  # fmt: skip
    return issuer.token(now, {"typ": "oauth-id-jag+jwt"}, **PARTNER | claims | changes)


def grant(issuer: Issuer, now: float, **changes: Any) -> str:
    """A JWT authorization grant of the supplier."""
    claims = {"iss": "https://as.supplier.example", "sub": "ada", "aud": "https://tokens.example.com"}
    return issuer.token(now, {"typ": "JWT"}, **claims | {"jti": str(uuid4())} | changes)


def supplier() -> tuple[str, str]:
    """Let the supplier's keys be those of the issuer on loopback."""
    line = 'issuer = "https://as.supplier.example"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


def signals_of_partner(issuer: Issuer, now: float) -> Mapping[str, str]:
    """A user's token, and the signals of the provider about the user, each with an id of its own."""
    sender = replace(issuer, url=PARTNER["iss"])
    common = {"aud": PARTNER["aud"]}
    return {
        "id-token.txt": issuer.token(now, **PARTNER),
        "session-revoked.txt": secevent(sender, now, CAEP + "session-revoked", **common),
        "account-disabled.txt": secevent(sender, now, RISC + "account-disabled", **common),
        "logout.txt": logout_token(sender, now, **common),
    }


def service_account(directory: Path) -> None:
    """Write a service account with a key, as Google's console does."""
    pem = rsa_key(7).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "my-project", "private_key": pem,
               "client_email": "signer@my-project.iam.gserviceaccount.com",
               "token_uri": "https://oauth2.googleapis.com/token"}  # fmt: skip
    (directory / "service-account.json").write_text(json.dumps(account))


def site_keys(directory: Path) -> None:
    """Write the secret of a site, and one that is too short."""
    (directory / "site-key").write_text("ab" * 32 + "\n")
    (directory / "short").write_text("ab" * 16 + "\n")


def private_key(directory: Path, name: str, index: int) -> None:
    """Write a private key."""
    pem = ec_key(index).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / name).write_bytes(pem)


def signing_client(directory: Path) -> None:
    """Write the key of a client that signs for itself, and its public half."""
    private_key(directory, "batch.key", 5)
    (directory / "batch.jwks").write_text(json.dumps({"keys": [jwk(ec_key(5), kid="batch-1")]}))


def certificates(directory: Path) -> None:
    """Write the certificates of the service and of a client, and those of who issued them."""
    servers, clients = authority(), authority("Clients")
    (directory / "ca.pem").write_bytes(servers.pem)
    (directory / "clients-ca.pem").write_bytes(clients.pem)
    pairs = {"tls": servers.issue("service", "localhost", "127.0.0.1"), "web": clients.issue("web", "web.example.com")}
    for name, (certificate, key) in pairs.items():
        (directory / f"{name}.crt").write_bytes(certificate)
        (directory / f"{name}.key").write_bytes(key)


def mcp_server(walk: Walk) -> None:
    """Serve the page's MCP server, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it listens from now on, before the server is up
        port, fd = listener.getsockname()[1], listener.fileno()
        arguments = [sys.executable, "-m", "uvicorn", "server:app", "--fd", str(fd), "--log-level", "warning"]
        environ = environment(PYTHONPATH=str(ROOT / "clients" / "python" / "src"))  # the client is installed there
        walk.beside.append(subprocess.Popen(arguments, cwd=walk.directory, env=environ, pass_fds=[fd]))
    walk.addresses["127.0.0.1:8000"] = f"127.0.0.1:{port}"


OUTSIDE: Mapping[str, Setting] = {
    name: Setting([partner()], web_token)
    for name in ("aws", "azure", "claude-api", "google-cloud", "kubernetes-api", "openai-api", "openbao")
}
"""The guides to services outside, for which ``outside.py`` stands in."""
SETTINGS: Mapping[str, Setting] = {
    **OUTSIDE,
    "agents": Setting([partner(), cluster()], delegating),
    "spiffe": Setting([cluster()], lambda issuer, now: {"service-account.txt": issuer.token(now, **SERVICE_ACCOUNT)}),
    "console": Setting([partner(), ('console = "127.0.0.1:7445"', 'console = "127.0.0.1:0"')]),
    "delegation-and-binding": Setting(
        [
            partner(),
            cluster(),
        ],
        delegating,
        certificates,
        {"TOKENMINT_CA_FILE": "ca.pem", "TOKENMINT_CERT_FILE": "web.crt", "TOKENMINT_KEY_FILE": "web.key"},
    ),
    "envoy": Setting([partner()], orders_token),
    "gateways": Setting([partner()], orders_token),
    "kubernetes": Setting(
        [
            keys("google"),
            cluster(),
        ],
        lambda issuer, now: {"account-token.txt": issuer.token(now, **POD)},
    ),
    "mcp-server": Setting(
        [partner(), cluster()],
        delegating,
        started={"uvicorn server:app --port 8000": mcp_server},
    ),
    "other-domains": Setting([partner(), supplier()], grants),
    "oauth-http": Setting([partner()], orders_token, signing_client),
    "signals": Setting([partner()], signals_of_partner),
    "status-lists": Setting([partner()], web_token),
    "token-chains": Setting([partner()], web_token),
    "web-app-sessions": Setting([partner()], web_token),
    "app-service": Setting([partner()], orders_token, site_keys),
    "entra": Setting(
        [keys("entra")],
        lambda issuer, now: {
            "access-token.txt": issuer.token(now, **USER),
            "id-token.txt": issuer.token(now, **ENTRA),
            "version-1.txt": issuer.token(now, **VERSION_1),
            "application.txt": issuer.token(now, **APPLICATION),
        },
    ),
    "firebase": Setting(
        [keys("firebase"), keys("firebase-session-cookie")],
        lambda issuer, now: {
            "id-token.txt": issuer.token(now, **FIREBASE),
            "session-cookie.txt": issuer.token(
                now, **FIREBASE | {"iss": "https://session.firebase.google.com/my-project"}
            ),
        },
        service_account,
    ),
    "google-sign-in": Setting([keys("google")], lambda issuer, now: {"id-token.txt": issuer.token(now, **GOOGLE)}),
}
