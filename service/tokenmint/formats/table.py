"""The formats: every module of this package with a ``FORMAT``."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

import tokenmint.formats as package
from tokenmint.base.config_values import Table
from tokenmint.formats.format import Format

Formats = Mapping[str, Format]
"""Formats by name."""


@cache
def shipped() -> Formats:
    """Return the formats of this package, in the order of their names."""
    modules = [import_module(f"{package.__name__}.{module.name}") for module in iter_modules(package.__path__)]
    return by_name(*(module.FORMAT for module in modules if hasattr(module, "FORMAT")))


def by_name(*formats: Format) -> Formats:
    """Return ``formats`` by name. Raises ``ValueError`` unless the names differ and exactly one format has no table."""
    named = {form.traits.name: form for form in sorted(formats, key=lambda form: form.traits.name)}
    if len(named) < len(formats):
        raise ValueError("two formats have the same name")
    if [form.table for form in formats].count(None) != 1:
        raise ValueError("exactly one format has to be without a table")
    for form in formats:
        if form.header_types and not form.traits.signed_by_ring:
            raise ValueError(f"the format {form.traits.name}: the key ring has to sign JWTs that come back")
    return MappingProxyType(named)


def without_table(formats: Formats) -> Format:
    """Return the format for audiences without a table of another format."""
    [form] = [form for form in formats.values() if form.table is None]
    return form


def tables(formats: Formats) -> tuple[tuple[str, type[Table]], ...]:
    """Return the tables of ``formats``, by name."""
    return tuple((name, form.table) for name, form in formats.items() if form.table is not None)


def header_types(formats: Formats) -> frozenset[str]:
    """Return the `typ` of all JWTs that come back."""
    return frozenset[str]().union(*(form.header_types for form in formats.values()))


def prefixes(formats: Formats) -> tuple[str, ...]:
    """Return the first characters of all reference tokens that come back."""
    return tuple(form.prefix for form in formats.values() if form.prefix)
