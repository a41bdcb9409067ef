"""The fast way beside the full way, in one process, in rounds that take turns: CPU time per exchange of each.

`python benchmarks/fast_way.py --rounds 9 --calls 2000 [--audience URL]`. No transport is in these figures: both ways get the
bytes of a request and its metadata, and return the bytes of an answer. What else the machine does meets both alike.
"""

import argparse
import asyncio
import json
import os
import socket
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc
import uvloop
import world
from contenders import Contender, configuration

from tokenmint.admission import access, rate_limit
from tokenmint.base.clock import SystemClock
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.logs import configure
from tokenmint.config.load import load
from tokenmint.process.app import App
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.process.supervisor import Job
from tokenmint.process.worker import settle_memory
from tokenmint.profiles import near_cache
from tokenmint.rpc.fast_exchange import METHOD, FastExchangeToken
from tokenmint.rpc.interceptors import Guard
from tokenmint.rpc.token_exchange_service import TokenExchangeService
from tokenmint.v1 import token_exchange_service_pb2 as pb

BATCH: Final = 8
METADATA: Final = (
    ("tokenmint-client-id", world.CLIENT), ("tokenmint-client-secret", world.CLIENT_SECRET), ("user-agent", "grpc-go/1.80"),
)  # fmt: skip


class Context:
    """A call's context without a transport."""

    def __init__(self) -> None:
        self.done: Any = None

    def invocation_metadata(self) -> Any:
        return METADATA

    def auth_context(self) -> dict[str, Any]:
        return {}

    def time_remaining(self) -> None:
        return None

    def add_done_callback(self, callback: Any) -> None:
        self.done = callback

    async def abort(self, code: grpc.StatusCode, message: str, **_: object) -> None:
        raise RuntimeError(f"{code} {message}")


def free() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def measure(where: world.World, tokens: list[str], options: argparse.Namespace) -> dict[str, Any]:
    config = configuration(Contender("fast way", "tokenmint"), where)
    writer = LineWriter(os.open(world.BUILD / "fast_way.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    configure("info", "json", writer)
    # A machine that is busy with other work is not what is compared: nothing runs out while that has its turn.
    rate_limit.LOT_LIFE, rate_limit.PATIENCE, near_cache.MAX_AGE = 30.0, 5.0, 600.0  # type: ignore[misc]
    job = Job(str(config), None, {name: free() for name in ("grpc", "admin", "http", "ops")})
    app = App(load(config, {}), job, clock=SystemClock(), entropy=os.urandom, log_writer=writer)
    await app.start()
    settle_memory()
    servicer = TokenExchangeService(app.parts.exchanges)
    guard = Guard(access.DATA, app.parts.gate, deadline=10.0, native=True, capacity=app.base.capacity)
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.ExchangeToken,
        request_deserializer=pb.ExchangeTokenRequest.FromString,
        response_serializer=pb.ExchangeTokenResponse.SerializeToString,
    )
    full: Any = guard.wrap(METHOD, handler)
    fast = FastExchangeToken(FastWayInForce(app.parts), 65536)
    requests = [
        pb.ExchangeTokenRequest(subject_token=token, audience=options.audience).SerializeToString() for token in tokens
    ]
    refused = 0

    async def fully(one: bytes) -> bytes:
        context: Any = Context()
        answer: bytes = await full.unary_unary(one, context)
        context.done(context)
        return answer

    async def by_full(part: list[bytes]) -> None:
        for start in range(0, len(part), BATCH):
            await asyncio.gather(*map(fully, part[start : start + BATCH]))

    async def by_fast(part: list[bytes]) -> None:
        nonlocal refused
        for start in range(0, len(part), BATCH):
            for one in part[start : start + BATCH]:
                if fast.answer(one, METADATA) is None:
                    refused += 1
                    await fully(one)
            fast.write()
            await asyncio.sleep(0)

    await by_full(requests)
    await by_fast(requests)
    spent: dict[str, list[float]] = {"full": [], "fast": []}
    place, refused = 0, 0
    for _ in range(options.rounds):
        for name, way in (("full", by_full), ("fast", by_fast)):
            part = [requests[(place + number) % len(requests)] for number in range(options.calls)]
            place += options.calls
            await asyncio.sleep(0.05)
            begun = time.thread_time()
            await way(part)
            spent[name].append((time.thread_time() - begun) / options.calls * 1e6)
    await app.stop()
    ratios = [fast / full for full, fast in zip(spent["full"], spent["fast"], strict=True)]
    return {
        "median_us": {name: round(median(values), 1) for name, values in spent.items()},
        "least_us": {name: round(min(values), 1) for name, values in spent.items()},
        "fast_of_full": round(median(ratios), 3),
        "took_the_full_way": refused,
        "of": options.rounds * options.calls,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--audience", default=world.AUDIENCE)
    options = parser.parse_args()
    world.BUILD.mkdir(parents=True, exist_ok=True)
    tokens = world._sign(range(options.tokens))  # noqa: SLF001  # of this folder
    with world.provider() as jwks, world.valkey(1, world.PRINCIPALS) as (redis, store):
        where = world.World(jwks, redis, store, Path(), Path())
        print(json.dumps(uvloop.run(measure(where, tokens, options))))


if __name__ == "__main__":
    main()
