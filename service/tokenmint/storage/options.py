"""How the store is reached, as it is configured."""

from dataclasses import dataclass
from pathlib import Path

from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How the store is reached. Times are in seconds."""

    username: str | None = None
    password: Secret | None = None
    """The password from the environment ..."""
    password_file: Path | None = None
    """... or the file with it."""
    sentinel_username: str | None = None
    """The sentinels' own credentials: those of the store are not shown to them."""
    sentinel_password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    """The certificate that is shown to the store and to the sentinels, and its key."""
    key_file: Path | None = None
    read_timeout: float = 1.0
    """For any read as a whole, connecting included: an exchange waits no longer."""
    write_timeout: float = 3.0
    """For a confirmed write as a whole; with `appendfsync everysec` a confirmation takes up to a second."""
    max_connections: int = 64
    min_replicas: int = 0
    """How many replicas have to have a write before it counts as durable."""
