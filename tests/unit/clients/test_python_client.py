"""The Python client against the service in one process: asyncio API, stores, hooks, descriptors that do not collide.

What all languages have in common is in tests/clients/scenarios.json.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
import requests
from tests.issuer import Issuer
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig

from tokenmint.rpc.status import PUSHBACK_KEY
from tokenmint.v1 import key_set_service_pb2 as service_pb
from tokenmint_client import (
    AccessDenied,
    AsyncClient,
    AsyncTokenSource,
    AsyncVerifier,
    ClientSecret,
    MemoryStore,
    SessionStore,
    SubjectTokenRejected,
    Target,
    Token,
    TokenRejected,
    TokenSource,
    current_token,
)
from tokenmint_client.asgi import TokenMiddleware
from tokenmint_client.cache import Entry, entry, key_of
from tokenmint_client.client import exchange_request
from tokenmint_client.grpc_auth import async_interceptors
from tokenmint_client.grpc_server import AsyncTokenInterceptor
from tokenmint_client.httpx_auth import TokenAuth
from tokenmint_client.requests_auth import TokenAuth as RequestsTokenAuth
from tokenmint_client.transport import Transport
from tokenmint_client.txn_token import TXN_TOKEN
from tokenmint_client.types import ExchangeOptions
from tokenmint_client.v1 import key_set_service_pb2 as client_pb
from tokenmint_client.v1.key_set_service_pb2_grpc import (
    KeySetServiceServicer,
    KeySetServiceStub,
    add_KeySetServiceServicer_to_server,
)

pytestmark = pytest.mark.slow

CACHE_KEYS = json.loads((Path(__file__).resolve().parents[2] / "clients" / "cache_keys.json").read_text())
NOW = 1_800_000_000.0


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[AsyncClient]:
    credential = ClientSecret("web", rig.secrets["web"].reveal)
    async with AsyncClient(rig.app.listen["grpc"], credential, plaintext=True, timeout=20) as opened:
        yield opened


def token(expires_at: float = NOW + 600, name: str = "t") -> Token:
    return Token(name, expires_at, "ada", ("read",), name, "k")


def test_service_and_client_share_a_process_and_no_descriptor() -> None:
    assert client_pb.DESCRIPTOR.package == "tokenmint_client.v1"
    assert service_pb.DESCRIPTOR.package == "tokenmint.v1"
    there = service_pb.GetKeySetResponse(etag="e").SerializeToString()
    assert client_pb.GetKeySetResponse.FromString(there).etag == "e"


async def test_asyncio_client_exchanges_batches_and_says_why_not(rig: Rig, client: AsyncClient, issuer: Issuer) -> None:
    subject = issuer.token(rig.clock.now())
    minted = await client.exchange(subject, LEGACY_AUDIENCE)
    assert minted.value not in repr(minted)
    one, other = await client.exchange_batch(subject, [Target(LEGACY_AUDIENCE), Target("https://nobody.example")])
    assert isinstance(one, Token)
    assert isinstance(other, AccessDenied)
    assert other.reason == "AUDIENCE_DENIED"
    with pytest.raises(SubjectTokenRejected) as caught:
        await client.exchange(issuer.token(rig.clock.now() - 900), LEGACY_AUDIENCE)
    assert caught.value.reason == "EXPIRED"


async def test_asyncio_source_flies_once_and_outlives_a_caller_that_goes_away(
    rig: Rig, client: AsyncClient, issuer: Issuer
) -> None:
    source = AsyncTokenSource(client, clock=rig.clock.now)
    subject = issuer.token(rig.clock.now())
    impatient = asyncio.ensure_future(source.get(subject, LEGACY_AUDIENCE))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(source.get(subject, LEGACY_AUDIENCE)) for _ in range(100)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert len({found.token_id for found in await asyncio.gather(*others)}) == 1
    source.forget(subject)
    again = await source.get(subject, LEGACY_AUDIENCE)
    assert again.token_id != others[0].result().token_id
    await source.close()


async def test_asyncio_verifier_and_hooks(rig: Rig, client: AsyncClient, issuer: Issuer) -> None:
    source = AsyncTokenSource(client, clock=rig.clock.now)
    subject = issuer.token(rig.clock.now())
    jwks = rig.url("http", "/.well-known/jwks.json")
    verifier = AsyncVerifier("https://tokens.example", OPEN_AUDIENCE, jwks_url=jwks, clock=rig.clock.now)
    wrong = AsyncVerifier("https://tokens.example", AUDIENCE, jwks_url=jwks, clock=rig.clock.now)
    minted = await source.get(subject, OPEN_AUDIENCE)
    assert (await verifier.verify(minted.value)).scopes == {"read"}
    with pytest.raises(TokenRejected) as caught:
        await wrong.verify(minted.value)
    assert caught.value.reason == "WRONG_AUDIENCE"

    class Whoami(KeySetServiceServicer):
        async def GetKeySet(self, request: object, context: object) -> client_pb.GetKeySetResponse:
            return client_pb.GetKeySetResponse(etag=current_token().subject)

        def WatchKeySet(self, request: object, context: object) -> Iterator[client_pb.WatchKeySetResponse]:
            return iter(())

    server = grpc.aio.server(interceptors=[AsyncTokenInterceptor(verifier)])
    add_KeySetServiceServicer_to_server(Whoami(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    interceptors = async_interceptors(source, subject, OPEN_AUDIENCE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors) as channel:
        answer = await KeySetServiceStub(channel).GetKeySet(client_pb.GetKeySetRequest())
        assert answer.etag == minted.subject
    await server.stop(None)

    async def hello(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": current_token().subject.encode()})  # type: ignore[operator]

    for scopes, status in (((), 200), (("write",), 403)):
        transport = httpx.ASGITransport(TokenMiddleware(hello, verifier, scopes=scopes))
        auth = TokenAuth(source, lambda: subject, OPEN_AUDIENCE)
        async with httpx.AsyncClient(transport=transport, auth=auth, base_url="http://here") as http:
            assert (await http.get("/")).status_code == status
    await verifier.close()
    await wrong.close()
    await source.close()


def test_requests_auth_sends_the_token() -> None:
    class Source:
        def get(self, *_: object, **__: object) -> Token:
            return token()

    auth = RequestsTokenAuth(Source(), "subject", AUDIENCE)  # type: ignore[arg-type]
    prepared = requests.Request("GET", "https://orders.example", auth=auth).prepare()
    assert prepared.headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.70), (1.0, 0.85)])
def test_a_token_is_refreshed_after_70_to_85_percent_of_its_life(jitter: float, share: float) -> None:
    kept = entry(token(), NOW, jitter)
    at = NOW + 600 * share
    assert kept.fresh(at - 0.1)
    assert not kept.fresh(at + 0.1)
    assert kept.usable(NOW + 589.9)
    assert not kept.usable(NOW + 590)


def test_memory_store_drops_what_has_expired_before_what_was_not_used() -> None:
    store = MemoryStore(2)
    store.put("a", Entry(token(), NOW), NOW)
    store.put("b", Entry(token(NOW + 5), NOW), NOW)
    store.put("c", Entry(token(), NOW), NOW)
    assert [name for name in "abc" if store.get(name)] == ["a", "c"]
    store.put("d", Entry(token(), NOW), NOW)
    assert len(store) == 2


@pytest.mark.parametrize("row", CACHE_KEYS, ids=[row["case"] for row in CACHE_KEYS])
def test_the_key_of_a_token_is_the_same_in_every_language(row: dict[str, Any]) -> None:
    request = dict(row["request"])
    key = key_of(request.pop("subject_token"), request.pop("audience"), request.pop("scopes", ()), request)  # type: ignore[arg-type]  # the file's
    assert key == f"{row['key']['subject']}.{row['key']['target']}"


class Counting:
    """A client that mints tokens with the numbers 1, 2 … as ids."""

    count = 0

    def exchange(self, *_: object, **__: object) -> Token:
        self.count += 1
        return token(name=str(self.count))


class AsyncCounting(Counting):
    """The same for asyncio."""

    async def exchange(self, *_: object, **__: object) -> Token:  # type: ignore[override]
        return super().exchange()


@pytest.mark.parametrize(
    "options",
    [{"request_context": {"req_ip": "192.0.2.7"}}, {"request_details": {}}, {"requested_token_type": TXN_TOKEN}],
)
async def test_each_call_gets_a_transaction_token_of_its_own(options: ExchangeOptions) -> None:
    store = MemoryStore()
    source = TokenSource(Counting(), store=store)  # type: ignore[arg-type]
    assert [source.get("s", AUDIENCE, **options).token_id for _ in range(2)] == ["1", "2"]
    asynchronous = AsyncTokenSource(AsyncCounting(), store=store)  # type: ignore[arg-type]
    calls = [asynchronous.get("s", AUDIENCE, **options) for _ in range(2)]
    assert [token.token_id for token in await asyncio.gather(*calls)] == ["1", "2"]
    assert len(store) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
def test_a_context_that_json_cannot_hold_is_refused_before_the_call(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        exchange_request("s", AUDIENCE, (), {"request_context": {"a": [value]}})


def test_an_option_that_does_not_exist_is_no_option() -> None:
    with pytest.raises(TypeError, match="an exchange has no option actor"):
        exchange_request("s", AUDIENCE, (), {"actor": "a"})  # type: ignore[typeddict-unknown-key]


def test_session_store_holds_plain_data_and_forgets() -> None:
    session: dict[str, object] = {}
    store = SessionStore(session, max_entries=2)
    key = key_of("subject", AUDIENCE, ["b", "a"], {})
    kept = Entry(token(), NOW + 400)
    store.put(key, kept, NOW)
    assert store.get(key) == kept
    for name in "xy":
        store.put(name, kept, NOW)
    assert store.get(key) is None
    store.forget("x")
    assert store.get("x") is None


@pytest.mark.parametrize("target", ["tokens.example:443", "127.example:1x", "10.0.0.1:7443"])
def test_plaintext_is_for_loopback_only(target: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Transport(target, ClientSecret("a", "b"), ca_file=None, certificate=None, plaintext=True, options=())


def test_verifiers_take_asymmetric_algorithms_only() -> None:
    with pytest.raises(ValueError, match="algorithms"):
        AsyncVerifier("https://tokens.example", AUDIENCE, algorithms=["HS256"])


def test_the_delay_of_retry_info_is_what_grpc_obeys() -> None:
    assert PUSHBACK_KEY == "grpc-retry-pushback-ms"  # gRFC A6
