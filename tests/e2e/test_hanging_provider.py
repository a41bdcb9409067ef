"""A provider that does not answer: its own callers wait or are told to retry, and nobody else's notice."""

import asyncio
import threading

import grpc
from tests.issuer import Issuer, serving
from tests.rig import LEGACY_AUDIENCE, Refusal, Rig, Serve, refusal

from tokenmint.v1 import token_exchange_service_pb2 as pb

PATIENCE = 20.0
SLOW = """
[providers.slow]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true
[limits]
calls_in_flight = 8
"""


def ask(rig: Rig, issuer: Issuer, **header: str) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=issuer.token(rig.clock.now(), header), audience=LEGACY_AUDIENCE)


async def test_callers_of_a_provider_that_hangs_do_not_take_all_places_for_calls_in_hand(
    serve: Serve, issuer: Issuer, transport: str
) -> None:
    """Eight places, of which two are for calls that wait for keys."""
    with serving(Issuer()) as slow:
        extra = SLOW.format(issuer=slow.url)
        async with serve(extra, transport=transport) as rig:
            slow.gate = threading.Event()
            try:
                new = ask(rig, slow, kid="a key that is new")
                calls = [
                    asyncio.ensure_future(refusal(rig.exchange.ExchangeToken(new, **rig.auth("web")))) for _ in range(8)
                ]
                async with asyncio.timeout(PATIENCE):
                    told: list[Refusal] = []
                    waiting = set(calls)
                    while len(told) < 6:
                        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                        told += [call.result() for call in done]
                assert {(one.code, one.reason) for one in told} == {
                    (grpc.StatusCode.UNAVAILABLE, "KEY_SET_UNAVAILABLE")
                }
                assert {one.details for one in told} == {("RetryInfo",)}
                assert (await rig.exchange.ExchangeToken(ask(rig, issuer), **rig.auth("web"))).token
            finally:
                slow.gate.set()
            assert [(await call).reason for call in waiting] == ["UNKNOWN_KEY"] * 2
