"""The parts of a run and their pace: the rules of docs/keys.md with seconds in place of hours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.versions.version import Version
from tests.process import CLIENT, OPERATOR, write_kek

from tokenmint.keys.schedule import Schedule

ISSUER: Final = "https://tokens.example"
PREFIX: Final = "tm:"
ALGORITHMS: Final = ("ES256", "EdDSA", "RS256")
REPLICAS, WORKERS = 3, 2
LIFETIME: Final = 4.0
WATCHED_LIFETIME: Final = 12.0
"""Of the tokens that are revoked, so that they are judged also by verifiers whose stream was away for some seconds."""
SCHEDULE: Final = Schedule(
    replica_lag=1.5, max_age=1.0, verifier_cache=2.0, max_lifetime=WATCHED_LIFETIME, skew=0.25, rotation_interval=4.5
)
RECONNECT: Final = 1.5  # seconds that a replica may take to find the store again after R
IN_FLIGHT: Final = 0.25  # seconds by which a call may be under way, or a clock be read late, on a busy machine
HANG_NOTICED: Final = 30.0  # seconds within which the supervisor replaces a worker that hangs
HANG_SLACK: Final = 8.0  # seconds more, in which the worker that replaces it is started on a busy machine
LOSS_NOTICED: Final = SCHEDULE.replica_lag  # seconds after which a store that went back answers no exchange any more
STOPPING: Final = "STOPPING"
"""The reason of calls that come while a process stops in order."""
STORE_WENT_BACK: Final = "STORE_WENT_BACK"
"""The reason with which exchanges are refused while the store is known to have lost changes."""
CLOCK_WRONG: Final = frozenset({"CLOCK_WRONG", "SIGNER_UNAVAILABLE"})
"""Reasons with which exchanges are refused while a replica's clock is wrong."""
ONCE: Final = "https://once.example"
"""The audience for which each subject token is exchanged once."""
WATCHED: Final = "https://watched.example"
"""The audience of the verifiers that follow revocations."""
WATCHED_CLIENTS: Final = ("web-1", "web-2")
"""The clients that get tokens for it. No other has tokens that are revoked by client."""
ACCEPT_STORE: Final = ("keys", "accept-store", "--yes")
"""How an operator accepts on a replica's machine that the store has lost changes."""

CONFIG = f"""
issuer = "{ISSUER}"

[redis]
prefix = "{PREFIX}"
min_replicas = %(min_replicas)d

[keys]
algorithms = ["ES256", "EdDSA", "RS256"]
encryption_key_file = "kek"
replica_lag = "1500ms"
max_age = "1s"
verifier_cache = "2s"
skew = "250ms"
rotation_interval = "4500ms"

[limits]
watch_streams_per_peer = 100
drain = "1s"
lame_duck = "500ms"

[providers.idp]
issuer = "%(issuer)s"
audiences = ["app"]
allow_private = true

[clients.web]
secrets = ["sha256:{CLIENT.fingerprint()}"]

[clients.web-1]
secrets = ["sha256:{CLIENT.fingerprint()}"]

[clients.web-2]
secrets = ["sha256:{CLIENT.fingerprint()}"]

[clients.watcher]
secrets = ["sha256:{CLIENT.fingerprint()}"]
serves = ["{WATCHED}"]

[operators.root]
secrets = ["sha256:{OPERATOR.fingerprint()}"]
roles = ["viewer", "operator", "security"]
"""
AUDIENCE = """
[audiences."%(audience)s"]
clients = ["web"]
providers = ["idp"]
algorithm = "%(algorithm)s"
lifetime = "4s"
max_lifetime = "4s"
on_missing_profile = "without"
"""
WATCHED_AUDIENCE = f"""
[audiences."{WATCHED}"]
clients = ["{WATCHED_CLIENTS[0]}", "{WATCHED_CLIENTS[1]}"]
providers = ["idp"]
algorithm = "ES256"
lifetime = "{WATCHED_LIFETIME:.0f}s"
max_lifetime = "{WATCHED_LIFETIME:.0f}s"
on_missing_profile = "without"
"""


@dataclass(frozen=True)
class Plan:
    """The options of the command line."""

    topology: str
    rotations: int
    seed: int
    limit: float
    """Seconds after which a run ends, whether or not it has come to its rotations and faults."""
    kinds: tuple[str, ...] = ()
    """The faults, in order; none: all kinds in turn, at random, until there were as many rotations."""
    other: Version | None = None
    """A further version that replicas run. The fleet starts with it alone."""


def audience(algorithm: str) -> str:
    """The audience whose tokens are signed with an algorithm."""
    return f"https://{algorithm.lower()}.example"


def configure(directory: Path, issuer: str, min_replicas: int) -> Path:
    """Write the one configuration that every replica is started with."""
    write_kek(directory)
    config = directory / "tokenmint.toml"
    tables = [AUDIENCE % {"audience": audience(name), "algorithm": name} for name in ALGORITHMS]
    tables.append(AUDIENCE % {"audience": ONCE, "algorithm": "ES256"} + "single_use = true\n")
    tables.append(WATCHED_AUDIENCE)
    config.write_text(CONFIG % {"issuer": issuer, "min_replicas": min_replicas} + "".join(tables))
    return config
