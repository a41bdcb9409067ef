"""The data directory at a start: its kind, whether it is usable, and the files of earlier starts."""

import base64
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tokenmint.admission.callers import Operator, Role
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_text
from tokenmint.config.settings import Settings
from tokenmint.keys.high_water_mark import HighWaterMark
from tokenmint.model.secret import Secret
from tokenmint.storage.embedded import check_engine, find_engine

ENCRYPTION_KEY_FILE: Final = "key-encryption-key"
OPERATOR_FILE: Final = "operator.json"
DEVELOPMENT_FILE: Final = "DEVELOPMENT"
"""Marks the directory of `serve --dev`."""


def problems_of_start(settings: Settings, *, development: bool) -> list[str]:
    """Return the reasons against a start on this machine, apart from the configuration itself. Creates nothing."""
    directory = settings.data_dir
    unusable = _unusable(directory)
    if unusable:
        return [f"data_dir: {directory} {unusable}: choose another directory"]
    checks: list[Callable[[], object]] = [
        lambda: check_kind(directory, development=development),
        HighWaterMark(settings.high_water_mark_file).read,
        lambda: made_operators(settings),
    ]
    if settings.key_encryption_key is None and (directory / ENCRYPTION_KEY_FILE).exists():
        checks.append(lambda: made_encryption_key(directory))
    if settings.redis_url is None:
        checks.append(lambda: check_engine(directory, find_engine()))
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigurationError as error:
            problems += error.problems
    return problems


def check_kind(directory: Path, *, development: bool) -> None:
    """Keep development data and real data apart. Raises ``ConfigurationError`` for a directory of the other kind."""
    marked = (directory / DEVELOPMENT_FILE).exists()
    used = directory.exists() and any(directory.iterdir())
    if development and not marked and used:
        raise ConfigurationError(
            f"data_dir: {directory} holds the data of a normal service: give --dev another directory (--data-dir)"
        )
    if not development and marked:
        raise ConfigurationError(
            f"data_dir: {directory} was used with --dev, which admits callers without credentials: "
            "choose another directory, or remove this one to start again"
        )


def made_encryption_key(directory: Path) -> Secret:
    """Return the key-encryption key of an earlier start. Raises ``ConfigurationError``."""
    path = directory / ENCRYPTION_KEY_FILE
    try:
        key = base64.urlsafe_b64decode(read_text(path).strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigurationError(
            f"{path}: is not a key-encryption key: restore it, because only that key opens the signing keys"
        )
    return Secret(key)


def made_operators(settings: Settings) -> Mapping[str, Operator]:
    """Return the operator of an earlier start, if none is configured. Raises ``ConfigurationError``."""
    path = settings.data_dir / OPERATOR_FILE
    if settings.operators or settings.redis_url is not None or not path.exists():
        return {}
    try:
        document = json.loads(read_text(path))
        operator_id, secret = str(document["id"]), Secret(str(document["secret"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(f"{path}: can't be read: remove it, so that the next start makes a new one") from None
    return {operator_id: Operator(operator_id, (secret.fingerprint(),), frozenset(Role))}


def _unusable(directory: Path) -> str:
    """Return the reason why a directory can't hold data, or ""."""
    nearest = directory
    try:
        while not nearest.exists():
            nearest = nearest.parent
        if not nearest.is_dir():
            return "can't be made: a part of it is a file" if nearest != directory else "is not a directory"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if os.access(nearest, os.R_OK | os.W_OK | os.X_OK) else "can't be written"
