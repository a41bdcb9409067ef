"""The configured options of the connection to the store."""

from dataclasses import dataclass
from pathlib import Path

from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The options of the connection to the store. Times are in seconds."""

    username: str | None = None
    password: Secret | None = None
    """The password from the environment."""
    password_file: Path | None = None
    """The file with the password, if the environment has none."""
    sentinel_username: str | None = None
    """The sentinels' own credentials: those of the store are not shown to them."""
    sentinel_password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    """The certificate that is shown to the store and to the sentinels, and its key."""
    key_file: Path | None = None
    read_timeout: float = 1.0
    """The longest time of a whole read, including the connection; an exchange waits no longer."""
    write_timeout: float = 3.0
    """The longest time of a whole confirmed write; with `appendfsync everysec` a confirmation takes up to a second."""
    max_connections: int = 64
    min_replicas: int = 0
    """The number of replicas that must have a write before it counts as durable."""
