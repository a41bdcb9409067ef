"""The processor time of an answer to a gateway over HTTP, and of the same exchange over gRPC, one call each.

    make bench-gateways                 # REQUESTS (5000) of each, in ROUNDS (5) that alternate

The service is `tokenmint serve` with one worker. Processor time is told, because it depends little on what else a shared
machine does; calls are repeated with 100 tokens, on 16 connections, as gateways without a cache send them.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import grpc.aio
from tests.gateways.traffic import statuses_of
from tests.issuer import Issuer, serving
from tests.process import CLIENT, Service, configure

from benchmarks.machine import Load, describe
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

AUDIENCE: Final = "https://orders.example"
TOKENS: Final = 100
CONNECTIONS: Final = 16
EXTRA: Final = """
[gateway]
enabled = true
audience = "https://orders.example"
[limits]
each_client = { per_second = 1000000, burst = 1000000 }
"""


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("; ".join(f"{name}: {value}" for name, value in describe().items()), flush=True)
    with tempfile.TemporaryDirectory() as name, serving(Issuer()) as issuer:
        directory = Path(name)
        configure(directory, issuer.url, EXTRA)
        with Service(directory) as service:
            now = time.time()
            tokens = [issuer.token(now, sub=f"user-{number}") for number in range(TOKENS)]
            given = [tokens[number % TOKENS] for number in range(arguments.requests)]
            ways = {"/auth over HTTP": over_http, "ExchangeToken over gRPC": over_grpc}
            for way in ways.values():
                way(service, tokens)
            load = Load()
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(arguments.rounds):
                for name, way in ways.items():
                    found[name].append(cost(service, way, given))
            for name, costs in found.items():
                spread = f"{min(costs):.0f} to {max(costs):.0f}"
                print(f"{name:26} {statistics.median(costs):.0f} µs of processor time ({spread})", flush=True)
            print(f"machine                    {load.so_far()}", flush=True)


def cost(service: Service, way: Callable[[Service, Sequence[str]], None], tokens: Sequence[str]) -> float:
    """Return the service's processor time for each call, in microseconds."""
    before = processor_time(service.process.pid)
    way(service, tokens)
    return (processor_time(service.process.pid) - before) / len(tokens) * 1e6


def processor_time(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def over_http(service: Service, tokens: Sequence[str]) -> None:
    """Ask as a gateway does, and check the answers."""
    own = {
        "tokenmint-client-id": "web",
        "tokenmint-client-secret": CLIENT.reveal(),
        "x-forwarded-host": "orders.example",
    }
    headers = [{"authorization": f"Bearer {token}", **own} for token in tokens]
    statuses = statuses_of(f"http://{service.listen['http']}", headers, CONNECTIONS, "/auth")
    assert statuses == [200] * len(tokens)


def over_grpc(service: Service, tokens: Sequence[str]) -> None:
    """Exchange the same tokens, from as many callers."""

    async def calls() -> None:
        async with grpc.aio.insecure_channel(service.listen["grpc"]) as channel:
            stub, auth = TokenExchangeServiceStub(channel), service.auth()

            async def one(share: Sequence[str]) -> None:
                for token in share:
                    await stub.ExchangeToken(pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE), **auth)

            await asyncio.gather(*(one(tokens[at::CONNECTIONS]) for at in range(CONNECTIONS)))

    asyncio.run(calls())


if __name__ == "__main__":
    main()
