"""The rows: each contender under each kind of load."""

from dataclasses import dataclass
from typing import Final

from benchmarks import world
from benchmarks.contenders import Contender

NO_CACHE: Final = "[caches]\nprofiles = 0"
WATCHERS: Final = 1000
STREAMS: Final = 60
"""Calls at a time: fewer than `limits.calls_in_flight`, so that none is refused."""

NATIVE: Final = Contender("native", transport="native")
UNCACHED: Final = Contender("native, no near cache", transport="native", settings=NO_CACHE)
GRPCIO: Final = Contender("grpcio", transport="grpcio")
GRPCIO_TLS: Final = Contender("grpcio, TLS", transport="grpcio", tls=True)
TWO: Final = Contender("native, 2 workers", transport="native", workers=2)
DOORS: Final = Contender(
    "native, OAuth and Envoy", transport="native", settings="[oauth]\nenabled = true\n[envoy]\nenabled = true"
)
STREAMING: Final = Contender(
    "native, watched", transport="native", prefix="watched:",
    limits=f"watch_streams = {WATCHERS}\nwatch_streams_per_peer = {WATCHERS}",
)  # fmt: skip
GO: Final = Contender("Go", "go")
GO_FULL: Final = Contender("Go, same job", "go-full")
NODE: Final = Contender("Node", "node")
EMPTY_NATIVE: Final = Contender("empty call, native", "empty", "native")
EMPTY_GRPCIO: Final = Contender("empty call, grpcio", "empty", "grpcio")


@dataclass(frozen=True, slots=True)
class Row:
    """One contender under one load. Its names are those of the JSON and of the page."""

    scenario: str
    who: Contender
    mode: str = "exchange"
    audience: str = world.AUDIENCE
    connections: int = 4
    streams: int = STREAMS
    """Calls at a time."""
    half_of: str = ""
    """The scenario whose throughput, in this round, is offered by half; "": as many calls as are answered."""
    principals: str = world.MANY
    """Those that come: `MANY` in turn, `FEW` in turn, or each `ONCE`."""
    warmup: float = 1.0
    """Seconds before the clock starts."""

    @property
    def filled(self) -> int:
        """How often every principal comes before that, so that each worker has met it.

        A value of the near cache lives for a minute, so that in each round most would have gone. Rows whose principals
        are few, or come once, are not filled, and neither are servers without such a cache.
        """
        cached = self.who.kind == "tokenmint" and self.who.settings != NO_CACHE
        if not cached or self.principals != world.MANY or self.mode in ("http", "watch"):
            return 0
        return 1 if self.who.workers == 1 else 4  # of two workers one lacks a principal with a chance of 2 in 16

    @property
    def key(self) -> str:
        """The row's name."""
        return f"{self.scenario}: {self.who.name}"


def of(commit: str) -> dict[str, Contender]:
    """Return the contenders of a commit beside this one, by the name of this commit's contender of the same setting."""
    return {
        one.name: Contender(
            f"{one.name}, at {commit}",
            transport=one.transport,
            settings=one.settings,
            tls=one.tls,
            beside=True,
            prefix=world.BESIDE_PREFIX,
        )
        for one in (NATIVE, UNCACHED, GRPCIO, GRPCIO_TLS, DOORS)
    }


def rows(beside: str = "") -> list[Row]:
    """Return all rows, with those of the commit ``beside``, in the order in which a round measures them."""
    exchange = [Row("exchange", who) for who in (NATIVE, GO, GO_FULL, NODE, GRPCIO, GRPCIO_TLS)]
    over_http, doors, key_set, batches, rsa = [DOORS, NODE], [DOORS], [NATIVE], [NATIVE, GO, NODE], [NATIVE, GO, NODE]
    if beside:
        others = of(beside)
        over_http.append(others[DOORS.name])
        doors.append(others[DOORS.name])
        key_set.append(others[NATIVE.name])
        batches.append(others[NATIVE.name])
        rsa.append(others[NATIVE.name])
        exchange += [Row("exchange", others[who.name]) for who in (GRPCIO, GRPCIO_TLS, NATIVE)]
    return [
        *exchange,
        Row("exchange", UNCACHED),
        *(Row("exchange", who) for who in (EMPTY_NATIVE, EMPTY_GRPCIO)),
        *(Row("half load", who, half_of="exchange") for who in (NATIVE, GRPCIO, GO, NODE)),
        *(Row("one connection", who, connections=1) for who in (NATIVE, GRPCIO)),
        *(Row("two connections", who, connections=2) for who in (NATIVE, GRPCIO)),
        *(Row("30 calls at a time", who, streams=30) for who in (NATIVE, GO)),
        *(Row("8 calls at a time", who, streams=8) for who in (NATIVE, GO)),
        *(Row("few principals", who, principals=world.FEW, warmup=1.0) for who in (NATIVE, UNCACHED)),
        *(Row("cold principals", who, principals=world.ONCE, warmup=0.5) for who in (NATIVE, UNCACHED, GO_FULL)),
        *(Row("eight audiences", who, mode="eight") for who in (NATIVE, GO, NODE)),
        *(Row("batch of eight", who, mode="batch") for who in batches),
        *(Row("RS256", who, audience=world.RSA_AUDIENCE) for who in rsa),
        Row("two workers", TWO),
        Row("two workers, one connection", TWO, connections=1),
        Row("two workers, 16 connections", TWO, connections=16),
        *(Row("OAuth over HTTP", who, mode="oauth") for who in over_http),
        *(Row("external authorization", who, mode="authz") for who in doors),
        *(Row("key set over HTTP", who, mode="http") for who in key_set),
        Row("watchers", STREAMING, mode="watch"),
    ]


QUICK: Final = (NATIVE, GRPCIO, GO, GO_FULL, NODE)


def quick(beside: str = "") -> list[Row]:
    """Return the rows that are measured in less than a minute."""
    others = [of(beside)[GRPCIO.name]] if beside else []
    return [Row("exchange", who, warmup=2.0) for who in (*QUICK, *others)]
