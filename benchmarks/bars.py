"""The bars that the service has to clear, and how a run did. Reads figures alone, so that pages can be made of a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Figures = Mapping[str, Any]
AT_MOST, AT_LEAST = "≤", "≥"


class Round:
    """The measurements of one round."""

    def __init__(self, results: Sequence[Figures], bound: Figures) -> None:
        self._rows = {(one["scenario"], one["contender"]): one for one in results}
        self._bound = bound

    def of(self, scenario: str, contender: str, name: str = "cpu_us") -> float:
        """Return a figure. Raises ``KeyError`` where it was not measured."""
        return float(self._rows[scenario, contender][name])

    def cpu(self, contender: str) -> float:
        """Return the CPU microseconds of an exchange."""
        return self.of("exchange", contender)

    def bound(self, *names: str) -> float:
        """Return the CPU microseconds of operations of cryptography, together."""
        return sum(float(self._bound[f"{name}_us"]) for name in names)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar and how the figure for it follows from a round."""

    name: str
    limit: float
    direction: str
    figure: Callable[[Round, str], float]
    """Takes a round, and the commit that was measured beside."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """How a bar was met: the median of the rounds, and the least and the most of them."""

    bar: Bar
    figure: float
    least: float
    most: float
    rounds: int

    @property
    def passed(self) -> bool:
        """Whether the median clears the bar."""
        return self.figure <= self.bar.limit if self.bar.direction == AT_MOST else self.figure >= self.bar.limit


BARS: Final = (
    Bar("native: CPU of an exchange, of the Go peer's", 0.65, AT_MOST, lambda r, _: r.cpu("native") / r.cpu("Go")),
    Bar("… of the Go peer's that does the same job", 0.5, AT_MOST, lambda r, _: r.cpu("native") / r.cpu("Go, same job")),
    Bar("… of the Node peer's", 0.45, AT_MOST, lambda r, _: r.cpu("native") / r.cpu("Node")),
    Bar(
        "… the cryptographic bound's share of it", 0.4, AT_LEAST,
        lambda r, _: r.bound("rs256_verify", "es256_sign") / r.cpu("native"),
    ),
    Bar("grpcio: CPU of an exchange, of the older commit's", 0.45, AT_MOST, lambda r, c: r.cpu("grpcio") / r.cpu(f"grpcio, at {c}")),
    Bar("grpcio with TLS: the same", 0.55, AT_MOST, lambda r, c: r.cpu("grpcio, TLS") / r.cpu(f"grpcio, TLS, at {c}")),
    Bar(
        "eight audiences in separate calls, tokens per CPU second of one's", 1.4, AT_LEAST,
        lambda r, _: r.cpu("native") / r.of("eight audiences", "native"),
    ),
    Bar(
        "batch of eight, of the signing bound", 0.5, AT_LEAST,
        lambda r, _: 8 * r.bound("es256_sign") / r.of("batch of eight", "native"),
    ),
    Bar("RS256, of its bound", 0.75, AT_LEAST, lambda r, _: r.bound("rs256_verify", "rs256_sign") / r.of("RS256", "native")),
    Bar("cold principals, CPU of warm ones'", 1.5, AT_MOST, lambda r, _: r.of("cold principals", "native") / r.cpu("native")),
    Bar(
        "`/oauth2/token`, CPU of the Node peer's over HTTP", 1.0, AT_MOST,
        lambda r, _: r.of("OAuth over HTTP", "native, OAuth and Envoy") / r.of("OAuth over HTTP", "Node"),
    ),
    Bar(
        "p99 at half load, of p50", 4.0, AT_MOST,
        lambda r, _: r.of("half load", "native", "p99_ms") / r.of("half load", "native", "p50_ms"),
    ),
    Bar(
        "two workers, exchanges per CPU second of one's", 0.95, AT_LEAST,
        lambda r, _: r.cpu("native") / r.of("two workers", "native, 2 workers"),
    ),
    Bar("RSS of an idle worker, MB", 110, AT_MOST, lambda r, _: r.of("start", "native", "idle_rss_mb")),
    Bar("ready after, s", 1.0, AT_MOST, lambda r, _: r.of("start", "native", "ready_seconds")),
    Bar("key set over HTTP, answers per CPU second", 15_000, AT_LEAST, lambda r, _: 1e6 / r.of("key set over HTTP", "native")),
)  # fmt: skip
MEMORY: Final = Bar("RSS of a worker with 100,000 profiles, MB", 180, AT_MOST, lambda *_: 0.0)
"""Measured once, in a process of its own."""


def of_rounds(outcome: Figures) -> list[Round]:
    """Return the rounds of a run."""
    found = []
    for bound in outcome["bounds"]:
        same = [one for one in outcome["results"] if one["round"] == bound["round"]]
        found.append(Round(same, bound))
    return found


def cleared(outcome: Figures) -> list[Cleared]:
    """Return how a run did, bar by bar; bars whose rows were not measured are left out."""
    found = []
    for bar in BARS:
        values = []
        for one in of_rounds(outcome):
            try:
                values.append(bar.figure(one, outcome["beside"]))
            except KeyError:
                continue
        if values:
            found.append(Cleared(bar, median(values), min(values), max(values), len(values)))
    if "memory" in outcome:
        size = float(outcome["memory"]["after_mb"])
        found.append(Cleared(MEMORY, size, size, size, 1))
    return found
