"""The rules of `[redis]`: URL, TLS and credentials of the store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.config.tables import RedisTable
from tokenmint.model.secret import Secret, shown
from tokenmint.storage import urls
from tokenmint.storage.files import StoreFiles
from tokenmint.storage.options import StoreOptions

_TLS_FILES: Final = ("ca_file", "cert_file", "key_file")
_FILES: Final = ("password_file", "sentinel_password_file", *_TLS_FILES)


def store_options(redis: RedisTable, base: Path, problems: list[str]) -> StoreOptions:
    """Return the options of the store's connections; add the problems of the table to ``problems``."""
    files = {key: base / name for key in _FILES if (name := getattr(redis, key))}
    options = StoreOptions(
        username=redis.username,
        password=Secret(redis.password) if redis.password else None,
        sentinel_username=redis.sentinel_username,
        read_timeout=redis.read_timeout,
        write_timeout=redis.write_timeout,
        max_connections=redis.max_connections,
        min_replicas=redis.min_replicas,
        **files,
    )
    problems += _problems(redis, options, files)
    return options


def _problems(redis: RedisTable, options: StoreOptions, files: dict[str, Path]) -> Iterator[str]:
    url = None
    if redis.url is not None:
        try:
            url = urls.parse(redis.url)
        except ConfigurationError as error:
            yield from error.problems
            return
    unread = False
    for key, path in files.items():
        if key in _TLS_FILES and (url is None or not url.tls):
            yield (
                f"redis.{key}: is for TLS, which redis.url does not ask for: expected rediss://, rediss+sentinel:// or "
                f"rediss+cluster://, or no {key}"
            )
            unread = True
            continue
        try:
            read_bytes(path)
        except OSError as error:
            unread = True
            yield f"redis.{key}: {shown(path)} can't be read ({error.strerror})"
    if (redis.cert_file is None) != (redis.key_file is None):
        yield "redis.cert_file, redis.key_file: set both, or neither"
        unread = True
    for key in ("sentinel_username", "sentinel_password_file"):
        if getattr(redis, key) is not None and (url is None or url.kind != "sentinel"):
            yield f"redis.{key}: is for sentinels, and redis.url names none: expected redis+sentinel://, or no {key}"
    if redis.sentinel_username is not None and redis.sentinel_password_file is None:
        yield "redis.sentinel_username: needs redis.sentinel_password_file"
    if url is None or unread:
        return
    try:
        StoreFiles(url, options)
    except ConfigurationError as error:
        yield from error.problems
