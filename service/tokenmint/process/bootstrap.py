"""Secrets that the service makes for itself if none are configured: a key-encryption key and a first operator.

Both are in the data directory, readable only by their owner, and are made once.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenmint.admission.callers import Operator
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.data_dir import (
    DEVELOPMENT_FILE,
    ENCRYPTION_KEY_FILE,
    OPERATOR_FILE,
    check_kind,
    made_encryption_key,
    made_operators,
)
from tokenmint.config.settings import Settings
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
from tokenmint.keys.signers.types import KeySource
from tokenmint.model.secret import Secret
from tokenmint.process.new_secrets import new_encryption_key, new_secret, write_private

OPERATOR_ID: Final = "operator"


def mark_directory(directory: Path, *, development: bool) -> None:
    """Keep development data and production data apart: a directory stays what it was at its first start.

    Raises:
        ConfigurationError: the directory is of the other kind.
    """
    check_kind(directory, development=development)
    marker = directory / DEVELOPMENT_FILE
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if development:
        marker.write_text("Made by `tokenmint serve --dev`. A normal `tokenmint serve` refuses this directory.\n")


def prepare(settings: Settings, entropy: Callable[[int], bytes]) -> list[Path]:
    """Make the missing files in the data directory; return those that were made."""
    made = []
    if settings.key_encryption_key is None:
        made += _create(settings.data_dir / ENCRYPTION_KEY_FILE, new_encryption_key(entropy) + "\n")
    if not settings.operators and settings.redis_url is None:
        document = {"id": OPERATOR_ID, "secret": new_secret(entropy).reveal()}
        made += _create(settings.data_dir / OPERATOR_FILE, json.dumps(document) + "\n")
    return made


def encryption_key(settings: Settings) -> Secret:
    """Return the key-encryption key, configured or made by :func:`prepare`.

    Raises:
        ConfigurationError: its file is missing or does not hold a key.
    """
    if settings.key_encryption_key is not None:
        return settings.key_encryption_key
    return made_encryption_key(settings.data_dir)


def key_parts(settings: Settings, entropy: Callable[[int], bytes]) -> tuple[Sealer, dict[str, KeySource]]:
    """Return the sealer of private keys, and the sources of signing keys. Raises ``ConfigurationError``."""
    sealer = Sealer(encryption_key(settings), entropy, settings.other_encryption_keys)
    hsm, kms = settings.pkcs11, settings.aws_kms
    sources = key_sources(
        sealer,
        pkcs11=(hsm.module, hsm.token, hsm.pin) if hsm is not None else None,
        aws_kms={**kms.model_dump(), "proxy": settings.proxy} if kms is not None else None,
        region=settings.regions.name,
    )
    return sealer, sources


def operators(settings: Settings) -> dict[str, Operator]:
    """Return the configured operators, or the one made by :func:`prepare`."""
    return {**settings.operators, **made_operators(settings)}


def _create(path: Path, text: str) -> list[Path]:
    try:
        write_private(path, text)
    except FileExistsError:
        return []
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be written ({error.strerror}): choose another data_dir") from None
    return [path]
