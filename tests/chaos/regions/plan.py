"""The parts and the pace of a run with regions: seconds in place of hours."""

from dataclasses import dataclass
from typing import Final

from tests.process import CLIENT, OPERATOR

from tokenmint.keys.schedule import Schedule

ISSUER: Final = "https://tokens.example"
AUDIENCE: Final = "https://orders.example"
NAMES: Final = ("ap", "eu", "us")
LOST: Final = "us"
"""The region that is given up."""
LIFETIME: Final = 20.0
POLL: Final = "500ms"
PROFILES_BOUND: Final = 10.0
"""Seconds after which a principal that was disabled at home is refused over a link that is there. The pause after a cut
is over by then, also on a busy machine."""


@dataclass(frozen=True)
class Pace:
    """How long links are cut, and the times of the service that follow from it."""

    schedule: Schedule
    between: tuple[float, float]
    """Seconds between two cuts of a link: longer than the longest pause between two attempts to pull."""
    cuts: tuple[float, float]
    """Seconds for which a link is cut. At L a region may also be behind by the pause between two attempts, by as much
    again because its record is not written at every pull, by S, and by a busy machine."""
    seconds: float
    """From the first token to the end."""
    given_up_after: float
    """From the first token to the end of a region."""
    at_most: float
    """The run goes on until enough was verified, and no longer than this."""

    @property
    def bound(self) -> float:
        """Seconds after which no verifier accepts a token of a region that was given up where it fetches its keys."""
        return max(self.schedule.max_age, self.schedule.verifier_cache)


SHORT: Final = Pace(
    schedule=Schedule(
        replica_lag=3.0, max_age=2.0, verifier_cache=6.0, max_lifetime=LIFETIME, skew=1.0, rotation_interval=36.0,
        region_lag=25.0,
    ),
    between=(6.0, 10.0), cuts=(13.0 / 3, 13.0), seconds=110.0, given_up_after=60.0, at_most=220.0,
)  # fmt: skip
LONG: Final = Pace(
    schedule=Schedule(
        replica_lag=3.0, max_age=2.0, verifier_cache=6.0, max_lifetime=LIFETIME, skew=1.0, rotation_interval=206.0,
        region_lag=195.0,
    ),
    between=(13.0, 18.0), cuts=(120.0, 170.0), seconds=600.0, given_up_after=440.0, at_most=660.0,
)  # fmt: skip
PACES: Final = {"short": SHORT, "long": LONG}

CONFIG: Final = f"""
issuer = "{ISSUER}"
data_dir = "data"

[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[keys]
replica_lag = "3s"
max_age = "2s"
verifier_cache = "6s"
skew = "1s"
rotation_interval = "%(interval)s"

[limits]
drain = "1s"
lame_duck = "0s"

[providers.idp]
issuer = "%(idp)s"
audiences = ["app"]
allow_private = true

[audiences."{AUDIENCE}"]
clients = ["web"]
providers = ["idp"]
on_missing_profile = "without"
lifetime = "20s"
max_lifetime = "20s"

[clients.web]
secrets = ["sha256:{CLIENT.fingerprint()}"]

[operators.root]
secrets = ["sha256:{OPERATOR.fingerprint()}"]
roles = ["viewer", "operator", "security"]
"""


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    pace: Pace = SHORT
    verifications: int = 100_000
    """The least number of verifications."""
