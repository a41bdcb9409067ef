"""Key sets that are not fetched: in the configuration, or in a file that another program renews."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.verification.jwk import BadKey
from tokenmint.verification.jwk_set import MAX_KEYS, ParsedKeySet, parse_jwks
from tokenmint.verification.key_source import KeySource

log = structlog.get_logger(__name__)

SETTING: Final = "jwks_file"


def key_file(path: Path, most: int = MAX_KEYS) -> RenewedFiles[ParsedKeySet]:
    """Return the keys of a JWK set in a file, at most ``most`` and at least one usable key, as they are renewed.

    Raises:
        ConfigurationError: the file can't be read, is not a JWK set, or has no usable key.
    """

    def made(contents: Sequence[bytes]) -> ParsedKeySet:
        parsed = usable_keys(SETTING, contents[0], most)
        if parsed.skipped:
            log.warning("keys of a file are not used", file=str(path), reasons=parsed.skipped[:5])
        return parsed

    return RenewedFiles([(SETTING, path)], made)


def at_hand(source: KeySource) -> ParsedKeySet:
    """Return the keys of a source that is not fetched. Raises ``BadKey`` if a pinned set is not a key set."""
    return parse_jwks(source.pinned, source.max_keys) if source.file is None else source.file.value


def usable_keys(setting: str, body: bytes, most: int = MAX_KEYS) -> ParsedKeySet:
    """Read a JWK set that an operator wrote, and use at most ``most`` of its keys.

    Raises ``ConfigurationError`` that begins with ``setting``.
    """
    try:
        read = parse_jwks(body, most)
    except BadKey as reason:
        raise ConfigurationError(f"{setting}: is not a JWK set: {reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{setting}: is not a JWK set: it is nested too deeply") from None
    if not read.keys:
        reasons = "".join(f"; {reason}" for reason in read.skipped)
        raise ConfigurationError(f"{setting}: has no usable key{reasons}")
    return read
