"""The processor time of calls that take the full way, beside that of a plain exchange.

    make bench-full-way                 # REQUESTS (2000) of each, in ROUNDS (5) that alternate

The service is `tokenmint serve` with one worker. Calls are repeated with 100 tokens, on 16 connections over HTTP and 16
calls at a time over gRPC. Their answers are checked.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import grpc.aio
import httpx
from tests.issuer import Issuer, serving
from tests.process import CLIENT, Service, configure

from benchmarks.gateways import CONNECTIONS, TOKENS, cost
from benchmarks.machine import Load, describe
from tokenmint.model.tokens import ACCESS_TOKEN
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

PLAIN, CONDITION, CLAIM, REFERENCE, REUSED, NEXT = (
    f"https://{name}.example" for name in ("orders", "condition", "claim", "reference", "reused", "next")
)
_AUDIENCE: Final = """
[audiences."{name}"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "create"
{more}
"""
EXTRA: Final = (
    _AUDIENCE.format(name=CONDITION, more="condition = \"assertion.email.endsWith('@example.com')\"")
    + _AUDIENCE.format(name=CLAIM, more=f'[audiences."{CLAIM}".claims]\nname = "= assertion.email + \'!\'"')
    + _AUDIENCE.format(name=REFERENCE, more=f'[audiences."{REFERENCE}".reference]')
    + _AUDIENCE.format(name=REUSED, more='reuse_window = "30s"')
    + _AUDIENCE.format(name=NEXT, more=f'reexchange_from = ["{PLAIN}"]')
    + """
[oauth]
enabled = true
[limits]
each_client = { per_second = 1000000, burst = 1000000 }
"""
)
Way = Callable[[Service, Sequence[str]], None]


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("; ".join(f"{name}: {value}" for name, value in describe().items()), flush=True)
    with tempfile.TemporaryDirectory() as name, serving(Issuer()) as issuer:
        directory = Path(name)
        configure(directory, issuer.url, EXTRA)
        with Service(directory) as service:
            now = time.time()
            foreign = [issuer.token(now, sub=f"user-{n}", email=f"user-{n}@example.com") for n in range(TOKENS)]
            own = minted(service, foreign)
            once = [issuer.token(now, sub=f"user-{n}", nonce="n") for n in range(TOKENS)]
            ways: dict[str, tuple[Way, list[str]]] = {
                "ExchangeToken, plain": (exchanged(PLAIN), foreign),
                "ExchangeToken, a condition in CEL": (exchanged(CONDITION), foreign),
                "ExchangeToken, a claim in CEL": (exchanged(CLAIM), foreign),
                "ExchangeToken, with a nonce": (exchanged(PLAIN, nonce="n"), once),
                "ExchangeToken, an issued token": (exchanged(NEXT, subject_token_type=ACCESS_TOKEN), own),
                "ExchangeToken, a reuse window": (exchanged(REUSED), foreign),
                "ExchangeToken, a reference token": (exchanged(REFERENCE), foreign),
                "IntrospectToken": (introspected, own),
                "/oauth2/introspect": (introspected_over_http, own),
            }
            for way, tokens in ways.values():
                way(service, tokens)
            load = Load()
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(arguments.rounds):
                for name, (way, tokens) in ways.items():
                    given = [tokens[number % TOKENS] for number in range(arguments.requests)]
                    found[name].append(cost(service, way, given))
            plain = found["ExchangeToken, plain"]
            for name, costs in found.items():
                ratio = statistics.median(one / other for one, other in zip(costs, plain, strict=True))
                spread = f"{min(costs):.0f} to {max(costs):.0f}"
                print(f"{name:34} {statistics.median(costs):.0f} µs ({spread}), {ratio:.2f} of plain", flush=True)
            print(f"machine{'':27} {load.so_far()}", flush=True)


def each(service: Service, tokens: Sequence[str], call: Callable[[Any, str], Awaitable[None]]) -> None:
    """Make a call with each token."""

    async def calls() -> None:
        async with grpc.aio.insecure_channel(service.listen["grpc"]) as channel:
            stub: Any = TokenExchangeServiceStub(channel)

            async def share(part: Sequence[str]) -> None:
                for token in part:
                    await call(stub, token)

            await asyncio.gather(*(share(tokens[at::CONNECTIONS]) for at in range(CONNECTIONS)))

    asyncio.run(calls())


def minted(service: Service, tokens: Sequence[str]) -> list[str]:
    """Return a token of ours for each token."""
    found: list[str] = []

    async def call(stub: Any, token: str) -> None:
        request = pb.ExchangeTokenRequest(subject_token=token, audience=PLAIN)
        found.append((await stub.ExchangeToken(request, **service.auth())).token)

    each(service, tokens, call)
    return found


def exchanged(audience: str, **fields: Any) -> Way:
    """Return a way that exchanges tokens for an audience, with these fields."""

    def way(service: Service, tokens: Sequence[str]) -> None:
        async def call(stub: Any, token: str) -> None:
            await stub.ExchangeToken(
                pb.ExchangeTokenRequest(subject_token=token, audience=audience, **fields), **service.auth()
            )

        each(service, tokens, call)

    return way


def introspected(service: Service, tokens: Sequence[str]) -> None:
    """Introspect tokens over gRPC."""

    async def call(stub: Any, token: str) -> None:
        answer = await stub.IntrospectToken(pb.IntrospectTokenRequest(token=token), **service.auth())
        assert answer.active

    each(service, tokens, call)


def introspected_over_http(service: Service, tokens: Sequence[str]) -> None:
    """Introspect tokens over HTTP."""

    async def calls() -> None:
        url = f"http://{service.listen['http']}/oauth2/introspect"
        async with httpx.AsyncClient(auth=("web", CLIENT.reveal()), timeout=20) as client:

            async def share(part: Sequence[str]) -> None:
                for token in part:
                    answer = await client.post(url, data={"token": token})
                    assert answer.json()["active"], answer.text

            await asyncio.gather(*(share(tokens[at::CONNECTIONS]) for at in range(CONNECTIONS)))

    asyncio.run(calls())


if __name__ == "__main__":
    main()
