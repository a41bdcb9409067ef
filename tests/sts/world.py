"""Two services of tokenmint under TLS, and the tokens that clients of other projects bring to them.

`home` is the organisation's server: it exchanges tokens, and mints ID-JAGs for other servers. `away` is the
authorization server of an MCP server, and takes ID-JAGs.
"""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.issuer import Issuer, b64, ec_key, jwk, rsa_key
from tests.ports import own_port
from tests.process import CLIENT, OPERATOR, Service
from tests.tls import authority

from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.tokens import ID_JAG, ID_TOKEN
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile

LIMIT = 20.0  # seconds for an answer
ORDERS, SVIDS, TRUST_DOMAIN = "https://orders.example", "https://svids.example", "home.example"
AGENT = "system:serviceaccount:agents:planner"
EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
SERVERS = ("home", "away", "mcp", "mcp_server", "authlib_server", "fastmcp_server", "msal_discovery")
"""The servers of the lane. The last ones are made of other projects' packages (`drivers/python/servers.py`)."""
COMMON = """
issuer = "{issuer}"
data_dir = "data-{name}"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:{port}"
ops = "127.0.0.1:0"
cert_file = "tls.crt"
key_file = "tls.key"
http_cert_file = "tls.crt"
http_key_file = "tls.key"

[oauth]
enabled = true
drafts = ["{draft}"]

[operators.root]
secrets = ["sha256:{operator}"]
roles = ["viewer", "operator", "security"]
"""
HOME = """
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
jwks = '''{idp}'''

[providers.apis]
issuer = "https://apis.example"
audiences = ["app"]
token_types = ["access_token"]
jwks = '''{idp}'''

[providers.cluster]
issuer = "https://cluster.example"
audiences = ["{issuer}"]
jwks = '''{cluster}'''

[audiences."{orders}"]
clients = ["web", "keys"]
providers = ["idp", "apis"]
resources = ["https://orders.example/api"]
scopes = ["read", "write"]
unknown_scopes = "drop"
[audiences."{orders}".actors]
providers = ["cluster"]
without_may_act = true

[spiffe]
trust_domain = "{domain}"
[audiences."{svids}"]
clients = ["web"]
providers = ["idp"]
[audiences."{svids}".spiffe]

[clients.web]
secrets = ["sha256:{client}"]
audience = "{orders}"

[clients.keys]
jwks = '''{keys}'''
"""
SERVER = """
[audiences."{issuer}"]
clients = ["web"]
providers = ["idp"]
resources = ["{resource}"]
scopes = ["tools.call", "tools.list"]
[audiences."{issuer}".id_jag]
clients = {{ web = "mcp-client" }}
[audiences."{issuer}".actors]
providers = ["cluster"]
without_may_act = true
"""
AWAY = """
[providers.home]
issuer = "{home}"
audiences = ["mcp-client"]
token_types = ["id_jag"]
allow_private = true
ca_file = "ca.pem"

[providers.authlib]
issuer = "https://authlib-idp.example"
audiences = ["mcp-client"]
token_types = ["id_jag"]
jwks = '''{authlib}'''

[audiences."{mcp}"]
clients = ["mcp-client", "other"]
providers = ["home", "authlib"]
scopes = ["tools.call", "tools.list"]
unknown_scopes = "drop"

[clients.mcp-client]
secrets = ["sha256:{client}"]
audience = "{mcp}"

[clients.other]
secrets = ["sha256:{client}"]
"""
IDP, CLUSTER = (
    Issuer(url=f"https://{name}.example", key=rsa_key(index)) for index, name in enumerate(("idp", "cluster"), start=3)
)


class World:
    """The servers, their addresses, and tokens for them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        ca = authority()
        certificate, key = ca.issue("service", "localhost", "127.0.0.1")
        for name, content in (("ca.pem", ca.pem), ("tls.crt", certificate), ("tls.key", key)):
            self.path(name).write_bytes(content)
        ports = {name: own_port() for name in SERVERS}
        self.urls = {name: f"https://localhost:{port}" for name, port in ports.items()}
        self.urls["mcp"] += "/mcp"
        self._numbers = count()
        self.home = self._service(stack, "home", ports["home"], self._home())
        self.away = self._service(stack, "away", ports["away"], self._away())
        self._profile(self.home, "ada", {"idp": "1842", "apis": "1842"})
        self._profile(self.home, "planner", {"cluster": AGENT})
        self._profile(self.away, "ada.at.mcp", {"home": "ada", "authlib": "ada"})
        self._profile(self.away, "leaver", {"authlib": "eve"}, disabled=True)
        tls = ssl.create_default_context(cafile=str(self.path("ca.pem")))
        self.http = stack.enter_context(httpx2.Client(verify=tls, timeout=LIMIT, trust_env=False))

    def path(self, name: str) -> Path:
        """A file of this world."""
        return self.directory / name

    def resource(self, server: str) -> str:
        """The resource of an authorization server: of `away` the MCP server, of the others one by its side."""
        return self.urls["mcp"] if server == "away" else f"{self.urls[server]}/mcp"

    def _home(self) -> str:
        servers = ("away", "mcp_server", "authlib_server", "fastmcp_server")
        text = HOME.format(
            issuer=self.urls["home"], orders=ORDERS, svids=SVIDS, domain=TRUST_DOMAIN,
            idp=IDP.jwks().decode(), cluster=CLUSTER.jwks().decode(),
            client=CLIENT.fingerprint(), keys=json.dumps({"keys": [jwk(ec_key(5), kid="c")]}),
        )  # fmt: skip
        return text + "".join(SERVER.format(issuer=self.urls[name], resource=self.resource(name)) for name in servers)

    def _away(self) -> str:
        return AWAY.format(
            home=self.urls["home"], mcp=self.urls["mcp"], client=CLIENT.fingerprint(),
            authlib=json.dumps({"keys": [jwk(ec_key(6), kid="a")]}),
        )  # fmt: skip

    def _service(self, stack: ExitStack, name: str, port: int, text: str) -> Service:
        common = COMMON.format(
            issuer=self.urls[name], name=name, port=port, draft=IDENTITY_ASSERTION, operator=OPERATOR.fingerprint()
        )
        file = self.path(f"{name}.toml")
        file.write_text(common + text)
        return stack.enter_context(Service(self.directory, "--config", str(file)))

    def _profile(
        self, service: Service, principal: str, identities: Mapping[str, str], *, disabled: bool = False
    ) -> None:
        root = grpc.ssl_channel_credentials(self.path("ca.pem").read_bytes())
        found = [Identity(provider=name, subject=subject) for name, subject in identities.items()]
        profile = Profile(principal=principal, identities=found, disabled=disabled)
        with grpc.secure_channel(service.listen["admin"], root) as channel:
            request = profiles_pb.CreateProfileRequest(profile=profile)
            ProfileAdminServiceStub(channel).CreateProfile(request, **service.auth("root"))

    # --- tokens ---------------------------------------------------------------------------------------------------

    def user(self, **changes: Any) -> str:
        """Ada's ID token."""
        return IDP.token(time.time(), **changes)

    def access(self) -> str:
        """Ada's access token at another API."""
        return IDP.token(time.time(), iss="https://apis.example", headers={"typ": "at+jwt"})

    def agent(self) -> str:
        """The token of an agent's platform."""
        return CLUSTER.token(time.time(), sub=AGENT, aud=self.urls["home"])

    def foreign(self, **changes: object) -> dict[str, Any]:
        """The claims of an ID-JAG of another identity provider, for `away`."""
        now = int(time.time())
        claims = {
            "iss": "https://authlib-idp.example", "sub": "ada", "aud": self.urls["away"], "client_id": "mcp-client",
            "jti": f"j{next(self._numbers)}", "iat": now, "exp": now + 300, "resource": self.urls["mcp"],
            "scope": "tools.call tools.list", **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def id_jag(self, audience: str = "away", **form: str) -> str:
        """An ID-JAG of `home`, by plain HTTP."""
        answer = self.leg_one(audience=self.urls[audience], **form)
        token: str = answer.json()["access_token"]
        return token

    # --- requests -------------------------------------------------------------------------------------------------

    def leg_one(self, **form: str) -> httpx2.Response:
        """Request an ID-JAG at `home`."""
        given = {
            "grant_type": EXCHANGE, "requested_token_type": ID_JAG, "subject_token": self.user(),
            "subject_token_type": ID_TOKEN, "resource": self.urls["mcp"], "scope": "tools.call",
            "client_id": "web", "client_secret": CLIENT.reveal(), **form,
        }  # fmt: skip
        return self.post("home", given)

    def leg_two(self, assertion: str, **form: str) -> httpx2.Response:
        """Present an ID-JAG to `away`."""
        given = {
            "grant_type": BEARER, "assertion": assertion, "client_id": "mcp-client",
            "client_secret": CLIENT.reveal(), **form,
        }  # fmt: skip
        return self.post("away", given)

    def post(self, server: str, form: Mapping[str, str]) -> httpx2.Response:
        """Send a form to a token endpoint; empty members are left out."""
        kept = {name: value for name, value in form.items() if value}
        return self.http.post(f"{self.urls[server]}/oauth2/token", data=kept)

    def keys(self, server: str) -> list[dict[str, Any]]:
        """The published keys of a service."""
        keys: list[dict[str, Any]] = self.http.get(f"{self.urls[server]}/.well-known/jwks.json").json()["keys"]
        return keys

    def document(self) -> dict[str, Any]:
        """All that a driver has to know."""
        key, other = ec_key(5), ec_key(6)
        return {
            **self.urls, "ca": str(self.path("ca.pem")), "certificate": str(self.path("tls.crt")),
            "certificate_key": str(self.path("tls.key")), "orders": ORDERS, "svids": SVIDS,
            "trust_domain": TRUST_DOMAIN, "secret": CLIENT.reveal(),
            "user": self.user(), "access": self.access(), "agent": self.agent(), "key": _pem(key),
            "key_jwk": {**jwk(key, kid="c"), "d": _private(key)},
            "authlib_key": {**jwk(other, kid="a"), "d": _private(other)},
        }  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return b64(key.private_numbers().private_value.to_bytes(32, "big"))


@contextmanager
def world(directory: Path) -> Iterator[World]:
    """Start everything that is tokenmint's."""
    with ExitStack() as stack:
        yield World(directory, stack)
