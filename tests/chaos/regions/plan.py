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
SCHEDULE: Final = Schedule(
    replica_lag=3.0, max_age=2.0, verifier_cache=6.0, max_lifetime=LIFETIME, skew=1.0, rotation_interval=36.0,
    region_lag=25.0,
)  # fmt: skip
POLL: Final = "500ms"
DELAY: Final = 12.0
"""Seconds that a region may be behind beside a cut: pauses between attempts, S, and a busy machine."""
LONGEST: Final = SCHEDULE.region_lag - DELAY
"""Seconds for which a link is cut at most."""
BOUND: Final = max(SCHEDULE.max_age, SCHEDULE.verifier_cache)
"""Seconds after which no verifier accepts a token of a region that was given up where it fetches its keys."""

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
rotation_interval = "36s"

[limits]
drain = "1s"
lame_duck = "0s"

[providers.idp]
issuer = "%s"
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
    seconds: float = 110.0
    """From the first token to the end."""
    given_up_after: float = 60.0
    """From the first token to the end of a region."""
    verifications: int = 100_000
    """The least number of verifications. The run goes on until then, for as long again at most."""
