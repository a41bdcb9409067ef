"""The configured signers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenmint.base import extras
from tokenmint.base.errors import ConfigurationError
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.local import LocalSource
from tokenmint.keys.signers.types import KeySource
from tokenmint.model.secret import Secret


def key_sources(
    sealer: Sealer,
    *,
    pkcs11: tuple[Path, str, Secret] | None = None,
    aws_kms: Mapping[str, Any] | None = None,
    region: str = "",
) -> dict[str, KeySource]:
    """Return the sources of signing keys by name; the local one is always there.

    Args:
        sealer: seals the keys of the local source.
        pkcs11: module, token label and PIN.
        aws_kms: the arguments of :class:`KmsSource`.
        region: the name of this region; "": none.

    Raises:
        ConfigurationError: a package that a source needs is not installed.
    """
    local = LocalSource(sealer, region)
    sources: dict[str, KeySource] = {local.name: local}
    if pkcs11 is not None:
        sources["pkcs11"] = _loaded("pkcs11", lambda: _pkcs11(pkcs11))
    if aws_kms is not None:
        sources["aws-kms"] = _loaded("aws-kms", lambda: _aws_kms(aws_kms))
    return sources


def _loaded(extra: str, make: Callable[[], KeySource]) -> KeySource:
    try:
        return make()
    except ImportError:
        raise ConfigurationError(f"keys.signer: {extras.missing(extra)}") from None


def _pkcs11(arguments: tuple[Path, str, Secret]) -> KeySource:
    from tokenmint.keys.signers.pkcs11 import Pkcs11Source

    return Pkcs11Source(*arguments)


def _aws_kms(arguments: Mapping[str, Any]) -> KeySource:
    from tokenmint.keys.signers.aws_kms import KmsSource

    return KmsSource(**arguments)
