"""A provider's keys in a file that another program renews."""

from collections.abc import Sequence
from pathlib import Path

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.verification.jwk import BadKey, ParsedKeySet, parse_jwks

SETTING = "jwks_file"


def key_file(path: Path) -> RenewedFiles[ParsedKeySet]:
    """Return the keys of a JWK set in a file, with at least one usable key, as they are renewed.

    Raises:
        ConfigurationError: the file can't be read, is not a JWK set, or has no usable key.
    """
    return RenewedFiles([(SETTING, path)], lambda contents: usable_keys(SETTING, contents))


def usable_keys(setting: str, contents: Sequence[bytes]) -> ParsedKeySet:
    """Read a JWK set that an operator wrote. Raises ``ConfigurationError`` that begins with ``setting``."""
    try:
        read = parse_jwks(contents[0])
    except BadKey as reason:
        raise ConfigurationError(f"{setting}: is not a JWK set: {reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{setting}: is not a JWK set: it is nested too deeply") from None
    if not read.keys:
        reasons = "".join(f"; {reason}" for reason in read.skipped)
        raise ConfigurationError(f"{setting}: has no usable key{reasons}")
    return read
