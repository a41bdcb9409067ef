"""The package's extras: each brings a library that only some configurations need.

The default installation has everything else, Firebase's SDK and the private store included.
"""

from importlib.util import find_spec
from typing import Final, NamedTuple


class Extra(NamedTuple):
    """An extra of the package."""

    module: str
    """A module that shows, by being found, that the extra is installed."""
    package: str
    """The package that has this module."""


EXTRAS: Final = {
    "native": Extra("pygrpc_native", "pygrpc-native"),
    "aws-kms": Extra("boto3", "boto3"),
    "pkcs11": Extra("pkcs11", "python-pkcs11"),
    "otel": Extra("opentelemetry.proto", "opentelemetry-proto"),
}
"""The extras of pyproject.toml, by name."""


def is_installed(name: str) -> bool:
    """Return whether an extra is installed, without importing it."""
    try:
        return find_spec(EXTRAS[name].module) is not None
    except ImportError:  # of a package around the module
        return False


def missing(name: str) -> str:
    """Return the complaint about an extra that is not installed; it goes after the name of a setting."""
    return f"{name} needs the package {EXTRAS[name].package}: install tokenmint[{name}]"
