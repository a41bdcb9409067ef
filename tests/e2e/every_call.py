"""Every method of every listener, each with a request that is in order."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import httpx2
from google.rpc import error_details_pb2, status_pb2
from tests.console import ASKED, GRANT, ID_TOKEN, Page, explained
from tests.rig import AUDIENCE, OPEN_AUDIENCE, Rig

from tokenmint.admission import access
from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile


@dataclass
class Answer:
    """Everything that a caller sees of an answer."""

    code: str
    message: str
    reason: str
    text: str


async def over_grpc(call: Any) -> Answer:
    """Await a call, or the first answer of a stream."""
    try:
        if isinstance(call, Awaitable):
            response = await call
        else:
            response = await anext(aiter(call))
            call.cancel()
    except grpc.aio.AioRpcError as error:
        trailing = dict(error.trailing_metadata() or ())
        raw = trailing.get("grpc-status-details-bin", b"")
        status = status_pb2.Status.FromString(raw if isinstance(raw, bytes) else raw.encode())
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            detail.Unpack(info)
        shown = f"{error!r} {error.initial_metadata()} {trailing} {status} {error.debug_error_string()}"
        return Answer(error.code().name, error.details() or "", info.reason, shown)
    return Answer("OK", "", "", str(response))


async def over_http(response: Awaitable[httpx2.Response]) -> Answer:
    """Await a request."""
    answered = await response
    try:
        body = answered.json()
    except ValueError:
        body = answered.text
    about = body if isinstance(body, dict) else {}
    code = "INTERNAL" if answered.status_code == 500 else "OK" if answered.status_code < 400 else "REFUSED"
    message = str(about.get("error_description", about.get("message", body if code == "INTERNAL" else "")))
    return Answer(code, message, str(about.get("reason", "")), f"{answered.headers} {answered.text}")


class Calls:
    """Every method of every listener, each with a request that is in order."""

    def __init__(self, rig: Rig, http: httpx2.AsyncClient) -> None:
        self.rig = rig
        self.http = http
        self._numbers = itertools.count()

    def token(self) -> str:
        """A subject token that was not seen before."""
        return self.rig.issuer.token(self.rig.clock.now(), jti=f"j{next(self._numbers)}")

    def rpcs(self) -> dict[str, Callable[[], Any]]:
        """Calls by method."""
        exchange = "/tokenmint.v1.TokenExchangeService"
        profile = Profile(principal=f"p{next(self._numbers)}")
        ada = Identity(provider="idp", subject=f"s{next(self._numbers)}")
        requests: dict[str, Callable[[], Any]] = {
            f"{exchange}/ExchangeToken": lambda: pb.ExchangeTokenRequest(subject_token=self.token(), audience=AUDIENCE),
            f"{exchange}/BatchExchangeTokens": lambda: pb.BatchExchangeTokensRequest(
                subject_token=self.token(), targets=[pb.BatchExchangeTarget(audience=AUDIENCE)]
            ),
            f"{exchange}/IntrospectToken": lambda: pb.IntrospectTokenRequest(token=self.token()),
            f"{exchange}/RevokeToken": lambda: pb.RevokeTokenRequest(token=self.token()),
            "/envoy.service.auth.v3.Authorization/Check": self._check,
            f"{exchange}/ExplainExchange": lambda: pb.ExplainExchangeRequest(
                exchange=pb.ExchangeTokenRequest(subject_token=self.token(), audience=AUDIENCE), client_id="web"
            ),
            "/tokenmint.v1.KeyAdminService/GetSigningKey": lambda: keys_pb.GetSigningKeyRequest(key_id="x"),
            "/tokenmint.v1.KeyAdminService/PrepareSigningKey": lambda: keys_pb.PrepareSigningKeyRequest(
                algorithm="ES256"
            ),
            "/tokenmint.v1.KeyAdminService/ActivateSigningKey": lambda: keys_pb.ActivateSigningKeyRequest(key_id="x"),
            "/tokenmint.v1.KeyAdminService/RotateSigningKey": lambda: keys_pb.RotateSigningKeyRequest(
                algorithm="ES256", force=True
            ),
            "/tokenmint.v1.KeyAdminService/RevokeSigningKey": lambda: keys_pb.RevokeSigningKeyRequest(
                key_id="x", reason="drill"
            ),
            "/tokenmint.v1.ProfileAdminService/GetProfile": lambda: profiles_pb.GetProfileRequest(principal="ada"),
            "/tokenmint.v1.ProfileAdminService/CreateProfile": lambda: profiles_pb.CreateProfileRequest(
                profile=profile
            ),
            "/tokenmint.v1.ProfileAdminService/DeleteProfile": lambda: profiles_pb.DeleteProfileRequest(
                principal="bob"
            ),
            "/tokenmint.v1.ProfileAdminService/LinkIdentity": lambda: profiles_pb.LinkIdentityRequest(
                identity=ada, principal="ada"
            ),
            "/tokenmint.v1.ProviderAdminService/GetProvider": lambda: providers_pb.GetProviderRequest(provider="idp"),
            "/tokenmint.v1.ProviderAdminService/RefreshProviderKeys": lambda: providers_pb.RefreshProviderKeysRequest(
                provider="idp"
            ),
        }
        empty = bytes
        found: dict[str, Callable[[], Any]] = {}
        tables = (self.rig.data, access.DATA, "web"), (self.rig.admin, access.ADMIN, "root")
        for channel, table, caller in tables:
            for method in table:
                if "channelz" in method or "reflection" in method:
                    continue  # not registered here
                found.setdefault(method, self._caller(channel, method, caller, requests.get(method, empty)))
        return found

    def _caller(self, channel: grpc.aio.Channel, method: str, caller: str, request: Callable[[], Any]) -> Any:
        streams = method.endswith(("/Watch", "/WatchKeySet"))

        def encode(message: Any) -> bytes:
            return message if isinstance(message, bytes) else message.SerializeToString()

        def call() -> Any:
            make = channel.unary_stream if streams else channel.unary_unary
            return make(method, encode)(request(), **self.rig.auth(caller))

        return call

    def refused(self) -> Any:
        """Ask for what the client may not have."""
        request = pb.ExchangeTokenRequest(subject_token=self.token(), audience="https://other.example")
        return self.rig.exchange.ExchangeToken(request, **self.rig.auth("web"))

    def unusual(self) -> Any:
        """Ask for a token in a way that only the full way answers."""
        identifier = "00000000-0000-4000-8000-000000000001"
        request = pb.ExchangeTokenRequest(subject_token=self.token(), audience=AUDIENCE, request_id=identifier)
        return self.rig.exchange.ExchangeToken(request, **self.rig.auth("web"))

    def _check(self) -> envoy.CheckRequest:
        request = envoy.CheckRequest()
        request.attributes.request.http.host = "any.example"
        request.attributes.request.http.headers["authorization"] = f"Bearer {self.token()}"
        return request

    def pages(self) -> dict[str, Callable[[], Awaitable[httpx2.Response]]]:
        """Requests by endpoint."""
        secret = self.rig.secrets["web"].reveal()
        forms = {
            "/oauth2/token": lambda: {
                "grant_type": GRANT, "subject_token": self.token(), "subject_token_type": ID_TOKEN,
                "audience": OPEN_AUDIENCE,
            },
            "/oauth2/introspect": lambda: {"token": self.token()},
            "/oauth2/revoke": lambda: {"token": self.token()},
        }  # fmt: skip
        found: dict[str, Callable[[], Awaitable[httpx2.Response]]] = {}
        for path, form in forms.items():
            url = self.rig.url("http", path)
            found[f"POST {path}"] = lambda url=url, form=form: self.http.post(url, data=form(), auth=("web", secret))  # type: ignore[misc]  # defaults
        for listener, path in (
            ("http", "/.well-known/jwks.json"),
            ("http", "/.well-known/openid-configuration"),
            ("ops", "/readyz"),
            ("ops", "/healthz"),
            ("ops", "/metrics"),
        ):
            url = self.rig.url(listener, path)
            found[f"GET {path}"] = lambda url=url: self.http.get(url)  # type: ignore[misc]  # defaults
        return found | self._console()

    def _console(self) -> dict[str, Callable[[], Awaitable[httpx2.Response]]]:
        """Requests of the console's routes, if it is served."""
        if "console" not in self.rig.app.listen:
            return {}
        page = Page(self.rig, self.http, self.rig.url("console", ""))
        asked = {f"GET {path}": lambda path=path: page.ask(path, "root") for path in ASKED}
        return asked | {
            "POST /api/exchanges": lambda: page.ask("/api/exchanges", "root"),
            "POST /api/explain": lambda: page.ask("/api/explain", "root", **explained(self.token())),
        }

    async def all(self) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Answer]]]]:
        """Yield a name and a call for each."""
        for name, rpc in self.rpcs().items():
            yield name, lambda rpc=rpc: over_grpc(rpc())  # type: ignore[misc]  # defaults
        yield "a refused ExchangeToken", lambda: over_grpc(self.refused())
        yield "an unusual ExchangeToken", lambda: over_grpc(self.unusual())
        for name, page in self.pages().items():
            yield name, lambda page=page: over_http(page())  # type: ignore[misc]  # defaults
