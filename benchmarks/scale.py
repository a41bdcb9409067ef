"""The figures of docs/scale.md: hit rates of caches at the edge, and the store's commands for each exchange.

    make bench-scale                              # some minutes
    make bench-scale REQUESTS=60000 EXCHANGES=5000

Modelled: callers by Zipf's law over a million principals, in time that is computed, through the real code of the sidecar
(`edge/answers.py`) and of the Python client (`AsyncTokenSource`). Nothing is exchanged: the answer costs nothing.
Measured: a real service before a real server, and a real Cluster of three primaries, whose `INFO commandstats` are
compared before and after. Prints JSON, with the machine.
"""

import argparse
import asyncio
import bisect
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc.aio
import redis
from tests.chaos.engine import Server
from tests.issuer import Issuer, serving
from tests.process import Service, configure, write_kek
from tests.unit.storage.test_topologies import LOG, cluster

from benchmarks.machine import Load, describe
from tokenmint.edge.answers import SIZE, Answer, Answers, Limits
from tokenmint.edge.question import Question
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub
from tokenmint_client.cache import MemoryStore
from tokenmint_client.source import AsyncTokenSource
from tokenmint_client.types import Token

PRINCIPALS: Final = 1_000_000
EXPONENT: Final = 1.0  # of Zipf's law
TOKEN_BYTES: Final = 900  # of an answer's token: ES256, one audience
LIFETIME: Final = 600.0  # seconds, as an audience has by default
EDGE: Final = (  # calls a second of one cache, seconds that an answer is kept, entries
    (100, 1, 10_000),
    (1_000, 1, 10_000),
    (10_000, 1, 10_000),
    (1_000, 10, 10_000),
    (1_000, 60, 10_000),
    (1_000, 60, 100_000),
)
SOURCES: Final = ((10, 10_000), (100, 10_000), (100, 100_000))  # calls a second of one process, entries of its store
STORES: Final = (  # the store, caches.profiles, audit.shards
    ("server", 50_000, 1),
    ("server", 0, 1),
    ("cluster", 50_000, 1),
    ("cluster", 0, 1),
    ("cluster", 50_000, 3),
    ("cluster", 50_000, 6),
)
CALLERS: Final = 200  # principals of the measured exchanges
CONNECTIONS: Final = 16
SETTLE: Final = 3.0  # seconds after which the last events of exchanges are in their stream
IDLE: Final = 10.0  # seconds in which the background's commands are counted
AUDIENCE: Final = "https://orders.example"
EXTRA: Final = """
[limits]
each_client = { per_second = 1000000, burst = 1000000 }
[audit]
exchange_events = 100000
"""


def main() -> None:
    """Model, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="calls that are counted in each model")
    parser.add_argument("--exchanges", type=int, default=2000, help="exchanges that are counted before each store")
    arguments = parser.parse_args()
    load, zipf = Load(), Zipf(PRINCIPALS, EXPONENT)
    measurements = list(stores(arguments.exchanges))
    found = {
        "machine": describe(),
        "measured": measurements,
        "modelled": {
            "principals": PRINCIPALS,
            "zipf_exponent": EXPONENT,
            "edge": [asyncio.run(edge(zipf, *row, arguments.requests)) for row in EDGE],
            "token_source": [asyncio.run(source(zipf, *row, arguments.requests)) for row in SOURCES],
        },
    }
    found["load"] = load.so_far()
    json.dump(found, sys.stdout, indent=2)
    print()


class Zipf:
    """Draws principals: the n-th most frequent one calls n^-s times as often as the first."""

    def __init__(self, count: int, exponent: float) -> None:
        weights = [float(rank**-exponent) for rank in range(1, count + 1)]
        self.total = sum(weights)
        self.shares: list[float] = [weight / self.total for weight in weights]
        self._sums = list(itertools.accumulate(weights))
        self._random = random.Random(1)  # noqa: S311  # the same each time

    def draw(self) -> int:
        """Return a principal."""
        return bisect.bisect_left(self._sums, self._random.random() * self._sums[-1])

    def hit_rate(self, rate: float, kept: float) -> float:
        """Return the hit rate of a cache without a bound, where an answer is kept for ``kept`` seconds.

        Between two misses of a principal pass ``kept`` seconds, with `rate * share * kept` hits.
        """
        return sum((share * (expected := rate * share * kept) / (1 + expected) for share in self.shares), 0.0)


class ModelClock:
    """A clock that the model moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        """Return the model's time."""
        return self.seconds

    def monotonic(self) -> float:
        """Return the model's time."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Never wait: nothing in the model does."""


async def edge(zipf: Zipf, rate: int, kept: int, entries: int, requests: int) -> dict[str, float]:
    """Let callers ask through the sidecar's cache, as fast as its rate says; count once it has warmed up."""
    clock, asked = ModelClock(), 0
    answer = Answer(200, (("cache-control", f"max-age={kept}"), ("x-tokenmint-token", "t" * TOKEN_BYTES)))

    async def ask(_: Question) -> Answer:
        nonlocal asked
        asked += 1
        return answer

    answers = Answers(ask, clock, Limits(alone=kept), entries=entries)
    warm = max(rate * kept, 1000)
    for number in range(warm + requests):
        if number == warm:
            asked = 0
        clock.seconds += 1 / rate
        await answers.give(Question("/auth", (("authorization", f"Bearer {zipf.draw()}"),)))
    return {
        "calls_a_second": rate,
        "kept_seconds": kept,
        "entries": entries,
        "held": len(answers),
        "held_at_most_by_size": SIZE // (answer.size + 400),
        "hit_rate": round(1 - asked / requests, 4),
        "hit_rate_without_a_bound_by_formula": round(zipf.hit_rate(rate, kept), 4),
    }


async def source(zipf: Zipf, rate: int, entries: int, requests: int) -> dict[str, float]:
    """Let callers ask through a client's token source, as fast as its rate says; count once it has warmed up."""
    clock, asked = ModelClock(), 0
    jitter = random.Random(1)  # noqa: S311  # the same each time

    class Exchanges:
        async def exchange(self, *_: object, **__: object) -> Token:
            nonlocal asked
            asked += 1
            return Token("t" * TOKEN_BYTES, clock.seconds + LIFETIME, "s", (), "j", "k")

    client: Any = Exchanges()
    tokens = AsyncTokenSource(client, store=MemoryStore(entries), clock=clock.now, jitter=jitter.random)
    warm = min(int(2 * rate * LIFETIME), 2 * requests)
    for number in range(warm + requests):
        if number == warm:
            asked = 0
        clock.seconds += 1 / rate
        await tokens.get(str(zipf.draw()), AUDIENCE)
    await tokens.close()
    return {
        "calls_a_second": rate,
        "token_seconds": LIFETIME,
        "entries": entries,
        "warm_up_calls": warm,
        "hit_rate": round(1 - asked / requests, 4),
        "hit_rate_without_a_bound_by_formula": round(zipf.hit_rate(rate, LIFETIME * 0.775), 4),
    }


def stores(exchanges: int) -> Iterator[dict[str, Any]]:
    """Measure before each kind of store, with and without the near cache and audit shards."""
    kinds = {"server": one_server, "cluster": three_primaries}
    for name, profiles, shards in STORES:
        with tempfile.TemporaryDirectory() as directory, kinds[name](Path(directory)) as (url, ports):
            setting = {"TOKENMINT_CACHES__PROFILES": str(profiles), "TOKENMINT_AUDIT__SHARDS": str(shards)}
            commands = measured(Path(directory), url, ports, setting, exchanges)
            row = {"store": name, "caches.profiles": profiles, "audit.shards": shards, **commands}
            print(row, file=sys.stderr, flush=True)
            yield row


@contextmanager
def one_server(directory: Path) -> Iterator[tuple[str, list[int]]]:
    """Run one server; yield its URL and port."""
    server = Server(directory, *LOG)
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            answers(client)
        yield f"redis://127.0.0.1:{server.port}", [server.port]
    finally:
        server.kill()


@contextmanager
def three_primaries(directory: Path) -> Iterator[tuple[str, list[int]]]:
    """Run a Cluster; yield its URL and ports."""
    with cluster(directory) as ports:
        yield f"redis+cluster://127.0.0.1:{ports[0]}", ports


def answers(client: Any) -> None:
    """Wait until a server answers."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)
    raise TimeoutError("the server does not answer")


def measured(
    directory: Path, url: str, ports: Sequence[int], setting: Mapping[str, str], exchanges: int
) -> dict[str, Any]:
    """Return the commands for each exchange and node, those of the background a second, and the audit's bytes."""
    nodes = [redis.Redis(port=port) for port in ports]
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url, f'{EXTRA}[keys]\nencryption_key_file = "{write_kek(directory)}"\n')
        with Service(directory, **{"TOKENMINT_REDIS__URL": url, **setting}) as service:
            tokens = [issuer.token(time.time(), sub=f"user-{number}") for number in range(CALLERS)]
            for _ in range(3):  # principals, keys, plans and caches are there
                exchange(service, tokens)
            time.sleep(SETTLE)
            before, began = commands_of(nodes), time.monotonic()
            time.sleep(IDLE)
            idle = per(subtracted(commands_of(nodes), before), time.monotonic() - began)
            used, begun, cpu = commands_of(nodes), time.monotonic(), processor_of(nodes)
            exchange(service, [tokens[number % CALLERS] for number in range(exchanges)])
            time.sleep(SETTLE)
            seconds = time.monotonic() - begun
            cpu = processor_of(nodes) - cpu
            spent = subtracted(commands_of(nodes), used)
    for node, of_idle in zip(spent, idle, strict=True):
        for name, rate in of_idle.items():
            node[name] = max(0, node[name] - int(rate * seconds))
    figures = {
        "exchanges": exchanges,
        "commands_an_exchange_by_node": [rounded(one) for one in per(spent, exchanges)],
        "background_commands_a_second_by_node": [rounded(one) for one in idle],
        "store_cpu_us_an_exchange_background_included": round(cpu / exchanges * 1e6, 1),
        "audit": audit_of(nodes),
    }
    for client in nodes:
        client.close()
    return figures


def exchange(service: Service, tokens: Sequence[str]) -> None:
    """Exchange tokens, from several callers at once."""

    async def calls() -> None:
        async with grpc.aio.insecure_channel(service.listen["grpc"]) as channel:
            stub, auth = TokenExchangeServiceStub(channel), service.auth()

            async def one(share: Sequence[str]) -> None:
                for token in share:
                    await stub.ExchangeToken(pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE), **auth)

            await asyncio.gather(*(one(tokens[at::CONNECTIONS]) for at in range(CONNECTIONS)))

    asyncio.run(calls())


def commands_of(nodes: Sequence[Any]) -> list[Counter[Any]]:
    """Return the calls of each command that each node has served, those of scripts included."""
    return [
        Counter({name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in node.info("commandstats").items()})
        for node in nodes
    ]


def processor_of(nodes: Sequence[Any]) -> float:
    """Return the seconds of processor time of all nodes."""
    return float(sum(node.info("cpu")["used_cpu_user"] + node.info("cpu")["used_cpu_sys"] for node in nodes))


def subtracted(after: list[Counter[Any]], before: list[Counter[Any]]) -> list[Counter[Any]]:
    """Return the differences of the nodes."""
    return [late - early for late, early in zip(after, before, strict=True)]


def per(counts: list[Counter[Any]], number: float) -> list[Counter[Any]]:
    """Return quotients."""
    return [Counter({name: count / number for name, count in one.items()}) for one in counts]


def rounded(counts: Counter[Any]) -> dict[str, float]:
    """Return the commands that count, the most frequent first; those of this program do not."""
    return {name: round(count, 3) for name, count in counts.most_common() if count >= 0.005 and name != "info"}


def audit_of(nodes: Sequence[Any]) -> dict[str, Any]:
    """Return the bytes of an event in the audit stream (its text, and the server's memory for it), and the events by
    shard.
    """
    events, memory, sizes = Counter[str](), 0, []
    for node in nodes:
        for key in node.keys("tm:audit*"):
            if key == b"tm:audit:admin":
                continue
            events[key.decode()] = node.xlen(key)
            memory += node.memory_usage(key, samples=0)
            sizes += [sum(map(len, fields.values())) for _, fields in node.xrange(key, count=1000)]
    return {
        "bytes_an_event": round(sum(sizes) / len(sizes)),
        "memory_an_event": round(memory / events.total()),
        "events_by_key": dict(sorted(events.items())),
    }


if __name__ == "__main__":
    main()
