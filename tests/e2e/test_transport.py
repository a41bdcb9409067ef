"""The listeners beside exchanges: key set, discovery, health, metrics, and the bounds of HTTP/2."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from tests import plain_http
from tests.polling import pause, until
from tests.rig import Rig, Serve, person, refusal
from tests.sockets import hang_up

from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub


@pytest.fixture
async def rig(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    async with serve(transport=transport) as service:
        await service.create(person("ada", "1842", "clerk", tenant="engines"))
        yield service


async def test_a_message_of_one_megabyte_is_refused_by_the_transport(rig: Rig) -> None:
    told = await refusal(rig.exchange.ExchangeToken(rig.request("A" * 1_000_000), **rig.auth("web")))
    assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.rsa
async def test_http_serves_the_key_set_discovery_health_and_metrics(rig: Rig) -> None:
    await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
    async with plain_http.client() as http:
        keys = await http.get(rig.url("http", "/.well-known/jwks.json"))
        assert keys.headers["cache-control"] == "public, max-age=300"
        assert len(keys.json()["keys"]) == 4  # for each algorithm the active one and the next
        assert all(set(key) <= {"kid", "alg", "use", "kty", "crv", "x", "y", "n", "e"} for key in keys.json()["keys"])
        unchanged = await http.get(
            rig.url("http", "/.well-known/jwks.json"), headers={"If-None-Match": keys.headers["etag"]}
        )
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        for path in ("openid-configuration", "oauth-authorization-server"):
            document = (await http.get(rig.url("http", f"/.well-known/{path}"))).json()
            assert document["issuer"] == "https://tokens.example"
            assert document["jwks_uri"] == "https://tokens.example/.well-known/jwks.json"
        assert (await http.get(rig.url("ops", "/healthz"))).text == "ok\n"

        async def told() -> tuple[int, object]:
            ready = await http.get(rig.url("ops", "/readyz"))
            return ready.status_code, ready.json()

        async def works() -> bool:  # a background task may have met its time limit on a busy machine
            return await told() == (200, {"ready": True, "problems": {}, "details": {}})

        await until(works)
        metrics = (await http.get(rig.url("ops", "/metrics"))).text
        assert 'tokenmint_tokens_minted_total{audience="https://orders.example"} 1.0' in metrics
        assert (await http.get(rig.url("http", "/metrics"))).status_code == 404


async def test_standard_health_and_the_streamed_key_set(rig: Rig) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest, WatchKeySetRequest

    health: Any = health_pb2_grpc.HealthStub(rig.data)
    status = (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
    assert status == health_pb2.HealthCheckResponse.SERVING
    once = await rig.key_set.GetKeySet(GetKeySetRequest(), timeout=10)
    watch = rig.key_set.WatchKeySet(WatchKeySetRequest(), timeout=10)
    updates = aiter(watch)
    first = await anext(updates)
    assert first.etag == once.etag
    from tokenmint.v1.key_admin_service_pb2 import RotateSigningKeyRequest

    rotated = await rig.keys.RotateSigningKey(
        RotateSigningKeyRequest(algorithm="ES256", force=True), **rig.auth("root")
    )
    second = await anext(updates)
    assert rotated.prepared_key.key_id in second.jwks_json
    assert second.etag != first.etag
    watch.cancel()


async def test_metadata_over_8_kib_is_refused(rig: Rig) -> None:
    auth = rig.auth("web")
    metadata = (*auth["metadata"], ("x-filler", "y" * 9000))
    told = await refusal(rig.exchange.ExchangeToken(rig.request(), metadata=metadata, timeout=20))
    # The Rust transport refuses it below gRPC, which clients see as a failure of HTTP/2.
    assert rig.native or told.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not rig.native or "ada" not in told.message
    metadata = (*auth["metadata"], ("x-filler", "y" * 4000))
    assert (await rig.exchange.ExchangeToken(rig.request(), metadata=metadata, timeout=20)).token


async def test_a_connection_has_at_most_100_streams(rig: Rig) -> None:
    """RFC 9113 section 6.5.2: what the service says in its SETTINGS."""
    host, _, port = rig.app.listen["grpc"].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    async with asyncio.timeout(10):
        head = await reader.readexactly(9)
        assert head[3] == 4
        body = await reader.readexactly(int.from_bytes(head[:3]))
    await hang_up(writer)
    settings = {int.from_bytes(body[i : i + 2]): int.from_bytes(body[i + 2 : i + 6]) for i in range(0, len(body), 6)}
    assert settings[3] == 100
    assert settings[6] <= 8 * 1024


async def test_cve_2023_44487_calls_that_are_cancelled_at_once_do_not_stop_the_others(rig: Rig) -> None:
    asked = rig.request()
    for _ in range(40):
        calls = [rig.exchange.ExchangeToken(asked, **rig.auth("web")) for _ in range(50)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
    # While 2000 cancelled calls are put away, others are refused before they begin (RFC 9113 REFUSED_STREAM).
    async with grpc.aio.insecure_channel(rig.app.listen["grpc"]) as other, asyncio.timeout(20):
        stub: Any = TokenExchangeServiceStub(other)
        while True:
            try:
                assert (await stub.ExchangeToken(asked, **rig.auth("web"))).token
            except grpc.aio.AioRpcError as refused:
                if refused.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await pause()
            else:
                break
