"""Whatever fails, and wherever on its way a call is, no exception's own text leaves: each way out is walked.

A canary stands for the text: it may be what a caller, a provider or a store has sent. It is looked for in answers,
their details and metadata, in the log, in metrics, in readiness, and in the audit streams.
"""

import asyncio
import itertools
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import httpx2
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer
from tests.rig import AUDIENCE, DEADLINE, OPEN_AUDIENCE, Rig, running

from tokenmint.admission import access, audit
from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.callers import Callers, ClientAuthenticator
from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.admission.refusal_budget import RefusalBudget
from tokenmint.base import logs
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics
from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.formats.minter import Minter
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.policy.grant import Policy
from tokenmint.rpc import convert, interceptors
from tokenmint.storage.redis import Store
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

CANARY: Final = "canary-of-a-foreign-text"
GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"
EXTRA: Final = """
[oauth]
enabled = true

[envoy]
enabled = true
audience = "https://orders.example"
"""
KINDS: Final[Mapping[str, Callable[[], BaseException]]] = {
    "RuntimeError": lambda: RuntimeError(CANARY),
    "BrokenPipeError": lambda: BrokenPipeError(32, CANARY, CANARY),
    "KeyError": lambda: KeyError(CANARY),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    "RecursionError": lambda: RecursionError(CANARY),
    "MemoryError": lambda: MemoryError(CANARY),
    "ExceptionGroup": lambda: ExceptionGroup(CANARY, [ValueError(CANARY)]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup(CANARY, [asyncio.CancelledError(CANARY)]),
}
WAY: Final[Mapping[str, tuple[Any, str]]] = {
    "a client's proof": (ClientAuthenticator, "client"),
    "an operator's proof": (Callers, "operator"),
    "rate limit": (RateLimiter, "take"),
    "policy": (Policy, "admit"),
    "decision": (Policy, "decide"),
    "verification": (Verifier, "verify"),
    "tokens of ours": (IssuedTokenVerifier, "verify"),
    "one value of the store": (Store, "get"),
    "several values of the store": (Store, "get_many"),
    "a scan of the store": (Store, "scan"),
    "a write to the store": (Store, "_write"),
    "signer": (SigningKeys, "signer"),
    "published keys": (SigningKeys, "published"),
    "mint": (Minter, "mint"),
    "single use": (ReplayGuard, "consume"),
    "record of a change": (AuditTrail, "record"),
    "a change's stream": (audit._Stream, "write"),
    "known verifiers": (JwksFetchLog, "saw"),
    "time limit": (interceptors, "TimeLimit"),
    "conversion of an answer": (convert, "minted_token"),
    "readiness": (Readiness, "problems"),
    "metrics' page": (Metrics, "render"),
}
"""Where a call goes through: what fails there fails the call, with the constant answer."""
ONCE: Final = ("/RotateSigningKey", "/PrepareSigningKey", "/CreateProfile", "/DeleteProfile", "/LinkIdentity")
"""Methods whose answer is another one the second time."""
CANCELLED: Final = ("several values of the store", "BaseExceptionGroup")
"""A read that several calls share, and that was ended from outside, is a store out of reach to each of them."""
BESIDE: Final[Mapping[str, tuple[Any, str]]] = {
    "the count of a call": (Metrics, "call"),
    "the count of a token": (Metrics, "minted"),
    "an audit event": (AuditTrail, "note"),
    "the place of an event": (audit._Stream, "add"),
    "the budget of refusals": (RefusalBudget, "take"),
    "a line of the log": (LineWriter, "put"),
    "a line's text": (logs, "bounded_json"),
}
"""What records a call: it is answered rightly, whatever fails here."""


@dataclass
class Answer:
    """Everything that a caller sees of an answer."""

    code: str
    message: str
    reason: str
    text: str


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log as a process writes it; called, it returns what is in it so far."""
    file = tmp_path / "log"
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = logs.configure("debug", "json", LineWriter(descriptor))

    def read() -> list[dict[str, Any]]:
        assert writer.flush(DEADLINE)
        return [json.loads(line) for line in file.read_text().splitlines()]

    yield read
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
    assert writer.flush(DEADLINE)
    os.close(descriptor)


@pytest.fixture
async def rig(
    tmp_path: Path, redis_url: str, redis_prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy,
    transport: str, lines: object,
) -> AsyncIterator[Rig]:  # fmt: skip
    async with running(
        tmp_path, redis_url, redis_prefix, issuer, clock, entropy,
        EXTRA, transport=transport,
    ) as service:  # fmt: skip
        assert lines
        ada = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")], roles=["clerk"])
        for profile in (ada, Profile(principal="bob")):
            create = profiles_pb.CreateProfileRequest(profile=profile)
            await service.profiles.CreateProfile(create, **service.auth("root"))
        yield service


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
    message = str(about.get("error_description", body if code == "INTERNAL" else ""))
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
        sends = method.endswith("/ImportProfiles")

        def encode(message: Any) -> bytes:
            return message if isinstance(message, bytes) else message.SerializeToString()

        def call() -> Any:
            if sends:
                return channel.stream_unary(method, encode)(iter([request()]), **self.rig.auth(caller))
            make = channel.unary_stream if streams else channel.unary_unary
            return make(method, encode)(request(), **self.rig.auth(caller))

        return call

    def refused(self) -> Any:
        """Ask for what the client may not have."""
        request = pb.ExchangeTokenRequest(subject_token=self.token(), audience="https://other.example")
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
        return found

    async def all(self) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Answer]]]]:
        """Yield a name and a call for each."""
        for name, rpc in self.rpcs().items():
            yield name, lambda rpc=rpc: over_grpc(rpc())  # type: ignore[misc]  # defaults
        yield "a refused ExchangeToken", lambda: over_grpc(self.refused())
        for name, page in self.pages().items():
            yield name, lambda page=page: over_http(page())  # type: ignore[misc]  # defaults


class Fault:
    """An exception at one place, for calls alone: what the service does by itself goes on."""

    def __init__(self, place: tuple[Any, str], make: Callable[[], BaseException]) -> None:
        self.owner, self.name = place
        self._make = make
        self.reached = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put it where the call goes through."""
        right, others = getattr(self.owner, self.name), asyncio.all_tasks()

        def fails(*arguments: Any, **named: Any) -> Any:
            task = asyncio.current_task()
            if task in others:
                return right(*arguments, **named)
            self.reached += 1
            raise self._make()

        async def fails_later(*arguments: Any, **named: Any) -> Any:
            answer = fails(*arguments, **named)
            return await answer

        patch.setattr(self.owner, self.name, fails_later if asyncio.iscoroutinefunction(right) else fails)


async def no_trace(rig: Rig, http: httpx2.AsyncClient, log: list[dict[str, Any]]) -> None:
    """Look for the canary in all that is kept or shown."""
    await rig.parts.audit.flush()
    store = rig.parts.store
    seen = str(log)
    for stream in (audit.EXCHANGES, audit.ADMIN):
        seen += str(await store.server.client.xrange(store.prefix + stream))
    for path in ("/metrics", "/readyz"):
        seen += (await http.get(rig.url("ops", path))).text
    assert CANARY not in seen


@pytest.mark.parametrize("kind", KINDS)
async def test_no_exceptions_text_leaves_by_any_way_out(
    rig: Rig, kind: str, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Every method and endpoint, with a fault at each place that it goes through; a seventh of them for each kind."""
    reached: dict[str, int] = dict.fromkeys(WAY, 0)
    async with httpx2.AsyncClient(timeout=DEADLINE) as http:
        calls = Calls(rig, http)
        turns = itertools.count(list(KINDS).index(kind))
        async for name, call in calls.all():
            for place in WAY:
                every = kind == "RuntimeError" and ("oken" in name or "GET" in name)
                if next(turns) % 7 and not every:
                    continue
                if place == "published keys" and "eySet" not in name and "jwks" not in name:
                    continue  # streams that end just now may still ask for them
                fault = Fault(WAY[place], KINDS[kind])
                with monkeypatch.context() as patch:
                    fault.install(patch)
                    answer = await call()
                assert CANARY not in answer.text, (name, place)
                if fault.reached:
                    reached[place] += 1
                    if (place, kind) == CANCELLED and answer.code != "INTERNAL":
                        assert "STORE_UNAVAILABLE" in answer.text, (name, answer)
                        continue
                    if "it can't be told" in answer.text:  # a look of /readyz that fails is told by its type
                        assert name == "GET /readyz", answer
                        continue
                    assert answer.code == "INTERNAL", (name, place, answer)
                    assert answer.message in (INTERNAL_MESSAGE, "Internal Server Error"), (name, place, answer)
                    assert answer.reason in ("INTERNAL", ""), (name, place, answer)
        await no_trace(rig, http, lines())
    assert kind != "RuntimeError" or not [place for place, count in reached.items() if not count]


@pytest.mark.parametrize("kind", ["RuntimeError", "BrokenPipeError", "UnicodeDecodeError", "ExceptionGroup"])
async def test_a_call_that_can_not_be_recorded_is_answered_all_the_same(
    rig: Rig, kind: str, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    async with httpx2.AsyncClient(timeout=DEADLINE) as http:
        calls = Calls(rig, http)
        usual = {name: await call() async for name, call in calls.all()}
        for place, where in BESIDE.items():
            reached = 0
            async for name, call in calls.all():
                if name.endswith(ONCE):
                    continue
                fault = Fault(where, KINDS[kind])
                with monkeypatch.context() as patch:
                    fault.install(patch)
                    answer = await call()
                reached += fault.reached
                assert CANARY not in answer.text, (name, place)
                assert (answer.code, answer.reason) == (usual[name].code, usual[name].reason), (name, place, answer)
            assert reached, place
        await no_trace(rig, http, lines())
