"""The rules of `[redis]`: URL, TLS and credentials of the store."""

from pathlib import Path

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes, read_text
from tokenmint.config.tables import RedisTable
from tokenmint.model.secret import Secret, shown
from tokenmint.storage import urls
from tokenmint.storage.connections import StoreOptions, check_ca_file


def store_options(redis: RedisTable, base: Path, problems: list[str]) -> StoreOptions:
    """Return the options of the store's connections; add the problems of the table to ``problems``."""
    ca_file = base / redis.ca_file if redis.ca_file else None
    try:
        _check_url(redis.url, ca_file)
    except ConfigurationError as error:
        problems += error.problems
    password = Secret(redis.password) if redis.password else None
    if redis.password_file:
        path = base / redis.password_file
        try:
            password = Secret(read_text(path).strip())
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a text file"
            problems.append(f"redis.password_file: {shown(path)} can't be read ({why})")
    return StoreOptions(
        username=redis.username,
        password=password,
        ca_file=ca_file,
        read_timeout=redis.read_timeout,
        write_timeout=redis.write_timeout,
        max_connections=redis.max_connections,
        min_replicas=redis.min_replicas,
    )


def _check_url(url: str | None, ca_file: Path | None) -> None:
    """Raise ``ConfigurationError`` if the URL or the authorities are not valid, or do not fit each other."""
    tls = url is not None and urls.parse(url).tls
    if ca_file is None:
        return
    if not tls:
        raise ConfigurationError(
            "redis.ca_file: is for TLS, which redis.url does not ask for: expected rediss://, rediss+sentinel:// or "
            "rediss+cluster://, or no ca_file"
        )
    try:
        read_bytes(ca_file)
    except OSError as error:
        raise ConfigurationError(f"redis.ca_file: {shown(ca_file)} can't be read ({error.strerror})") from None
    check_ca_file(ca_file)
