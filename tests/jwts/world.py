"""A service that takes JWTs in every place there is, and the parties whose tokens it takes."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests import plain_http
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.ports import own_port
from tests.regions import ISSUER, Federation, federation
from tests.rig import Rig, Serve
from tests.transmitter import TOKEN, TransmitterState, transmitting

from tokenmint.base.addresses import Address
from tokenmint.base.http_url import HttpUrl
from tokenmint.edge.answers import Limits
from tokenmint.edge.serving import Options, running
from tokenmint.model.drafts import DRAFTS
from tokenmint.model.tokens import ID_TOKEN
from tokenmint.verification.jwk import VerificationKey, read_jwk

TARGET, NEXT, PLAIN, AS, CHAINED, SVIDS, SITE, DOMAIN, FIREBASE, POLLED = (
    "https://target.example", "https://next.example", "https://plain.example", "https://as.example",
    "https://chained.example",
    "https://svids.example", "https://site.example", "trust-domain.example", "demo-app", "https://polled.example",
)  # fmt: skip
ENDPOINT: Final = f"{ISSUER}/oauth2/token"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
WORK, POD, MESH = (
    Issuer(url=f"https://{name}.example", key=rsa_key(number))
    for number, name in enumerate(("work", "pod", "mesh"), start=3)
)
HERE, THERE = "eu", "us"
"""The region that asks and is asked, and the other one."""
_NUMBERS = count()
_BUNDLE = json.dumps({"keys": [key | {"use": "jwt-svid"} for key in json.loads(MESH.jwks())["keys"]]})
_KEYS = json.dumps({"keys": [jwk(ec_key(5), kid="c")]})
_CONFIG = f"""
[oauth]
enabled = true
drafts = {json.dumps(DRAFTS)}

[envoy]
enabled = true
audience = "{TARGET}"
[gateway]
enabled = true
audience = "{TARGET}"

[providers.work]
issuer = "{WORK.url}"
audiences = ["app"]
token_types = ["id_token", "access_token", "id_jag", "jwt_grant"]
jwks = '''{WORK.jwks().decode()}'''
[providers.work.signals]
deliveries = ["secevent", "logout", "apple"]

[providers.polled]
issuer = "<sender>"
audiences = ["app"]
allow_private = true
[providers.polled.signals]
token_file = "<directory>/poll.token"
[providers.polled.signals.poll]
url = "<sender>/poll"
interval = "5s"
max_events = 100

[providers.pod]
issuer = "{POD.url}"
audiences = ["{ISSUER}"]
jwks = '''{POD.jwks().decode()}'''

[providers.mesh]
use = "spiffe"
trust_domain = "mesh.example"
audiences = ["{ISSUER}"]
jwks = '''{_BUNDLE}'''

[audiences."{TARGET}"]
clients = ["web", "keys", "pod", "mesh"]
providers = ["work"]
reexchange_from = ["{NEXT}", "{PLAIN}"]
scopes = ["read"]
on_missing_profile = "without"
[audiences."{TARGET}".actors]
providers = ["pod"]
without_may_act = true

[audiences."{NEXT}"]
clients = ["web"]
providers = ["work"]
scopes = ["read"]
status_list = true
on_missing_profile = "without"

[audiences."{PLAIN}"]
clients = ["web"]
providers = ["work"]
token_type = "JWT"
on_missing_profile = "without"

[audiences."{AS}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{AS}".id_jag]
clients = {{ web = "x" }}

[audiences."{CHAINED}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{CHAINED}".jwt_grant]
clients = {{ web = "x" }}

[spiffe]
trust_domain = "tokens.example"
[audiences."{SVIDS}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{SVIDS}".spiffe]
[audiences."{ENDPOINT}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{ENDPOINT}".spiffe]

[audiences."{DOMAIN}"]
clients = ["web"]
providers = ["work"]
scopes = ["read"]
reexchange_from = ["{NEXT}", "{DOMAIN}"]
on_missing_profile = "without"
[audiences."{DOMAIN}".txn_token]
subject_scopes = "='read'"

[audiences."{SITE}"]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences."{SITE}".app_service]
key_file = "<directory>/site.key"
key_encoding = "hex"

[audiences.{FIREBASE}]
clients = ["web"]
providers = ["work"]
on_missing_profile = "without"
[audiences.{FIREBASE}.firebase]
project = "{FIREBASE}"
uid = "assertion.sub"
service_account_file = "<directory>/account.json"

[clients.keys]
jwks = '''{_KEYS}'''
[clients.pod]
workloads = [{{ provider = "pod", subject = "agent" }}]
[clients.mesh]
workloads = [{{ provider = "mesh", subject = "spiffe://mesh.example/agent" }}]
"""


def once() -> str:
    """Return a `jti` that no other token has."""
    return f"j{next(_NUMBERS)}"


@dataclass
class World:
    """The service, and the parties around it."""

    rig: Rig
    """The service."""
    regions: Federation
    """Two regions of the same issuer. A service with regions has no status lists, so they are beside the service."""
    http: httpx2.AsyncClient
    """Leads to the service."""
    edge: httpx2.AsyncClient
    """Leads to a sidecar of the service."""
    sender: TransmitterState
    """The transmitter that the service polls for signals."""

    def now(self) -> float:
        """Return the time, by the service's clock."""
        return self.rig.clock.now()

    async def let_pass(self, seconds: float) -> None:
        """Move the clocks on."""
        await self.rig.let_pass(seconds)
        await self.regions.let_pass(seconds)

    async def ask_region(self, name: str, path: str, request: str, **query: str) -> httpx2.Response:
        """Send a signed request to a region, as the other one."""
        asking = THERE if name == HERE else HERE
        url = self.regions.rigs[name].url("http", f"/regions/{path}")
        headers = {"Authorization": f"Bearer {request}"}
        return await self.http.get(url, params={"for": asking, **query}, headers=headers)

    def pinned(self, name: str = THERE) -> list[VerificationKey]:
        """Return the public key of a region, or of the authority."""
        return [read_jwk({**self.regions.identities[name].public_jwk})]

    def secret(self) -> dict[str, str]:
        """Return a client's id and secret, for a form."""
        return {"client_id": "web", "client_secret": self.rig.secrets["web"].reveal()}

    def work(self, typ: str | None = "JWT", **changes: Any) -> str:
        """Return a token of the provider `work`; by default a user's ID token."""
        return WORK.token(self.now(), headers={"typ": typ}, **({"jti": once(), "email": None} | changes))

    async def exchange(self, token: str, kind: str = ID_TOKEN, audience: str = TARGET, **form: str) -> httpx2.Response:
        """Ask the token endpoint for an exchange. The client has a secret, unless the form has an assertion."""
        given = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind, "audience": audience}
        authenticated = {} if "client_assertion" in form else self.secret()
        return await self.http.post("/oauth2/token", data=authenticated | given | form)

    async def minted(self, audience: str, **form: str) -> str:
        """Return a token that the service mints for an audience."""
        body = (await self.exchange(self.work(), audience=audience, **form)).json()
        assert "access_token" in body, (audience, body)
        token: str = body["access_token"]
        return token


def _files(directory: Path) -> None:
    """Write the files that the configuration names."""
    (directory / "poll.token").write_text(TOKEN)
    (directory / "site.key").write_text(bytes(range(200, 240)).hex())
    pem = rsa_key(7).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account", "project_id": FIREBASE, "private_key_id": "k", "private_key": pem,
        "client_email": "sa@demo-app.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    (directory / "account.json").write_text(json.dumps(account))


@asynccontextmanager
async def world(serve: Serve) -> AsyncIterator[World]:
    """Run the service, two regions, a sidecar, and a transmitter of signals."""
    _files(serve.directory)
    async with AsyncExitStack() as stack:
        sender = stack.enter_context(transmitting(Issuer(key=rsa_key(6))))
        extra = _CONFIG.replace("<directory>", str(serve.directory)).replace("<sender>", sender.url)
        rig = await stack.enter_async_context(serve(extra))
        regions = await stack.enter_async_context(federation(serve, (HERE, THERE), profiles=True))
        await regions.begin()
        address = await stack.enter_async_context(_edge(rig))
        http, edge = [
            await stack.enter_async_context(plain_http.client(base_url=url, timeout=20))
            for url in (rig.url("http", ""), f"http://{address}")
        ]
        yield World(rig, regions, http, edge, sender)


@asynccontextmanager
async def _edge(rig: Rig) -> AsyncIterator[Address]:
    """Run a sidecar that keeps no answer."""
    address = Address("127.0.0.1", own_port())
    upstream = HttpUrl.parse(f"http://{rig.app.listen['http']}")
    limits = Limits(alone=0, followed=0, lag=5)
    options = Options(upstream, "web", rig.secrets["web"], address, limits, (), "x-forwarded-host", None, None, ())
    async with running(options, rig.clock):
        yield address
