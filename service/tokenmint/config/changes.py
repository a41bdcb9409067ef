"""The changes of a reload: keys that it takes over, and keys that need a restart. Values are never shown."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from pydantic import BaseModel

from tokenmint.base.key_path import key_path
from tokenmint.config.settings import Settings

MAX_NAMED: Final = 50
_BY_NAME: Final = ("providers", "audiences", "clients", "operators")
_RATES: Final = ("each_client", "all_clients")
_KEYS: Final[Mapping[str, str]] = {
    "redis_url": "redis.url",
    "redis_prefix": "redis.prefix",
    "redis_options": "redis",
    "key_encryption_key": "keys.encryption_key_file",
    "other_encryption_keys": "keys.other_encryption_key_files",
    "high_water_mark_file": "keys.high_water_mark_file",
    "signer": "keys.signer",
    "pkcs11": "keys.pkcs11",
    "aws_kms": "keys.aws_kms",
    "algorithms": "keys.algorithms",
    "schedule": "keys",
}
"""Fields of the settings whose configuration key has another name."""
_DERIVED: Final = frozenset({"warnings", "places", "assertions", "proxy_hashes", "proxy", "firebase_emulator"})
"""Fields that are computed from others, such as the proxy in the sources of keys."""
_TAKEN_OVER: Final = frozenset({"listen.forwarded", *(f"limits.{name}" for name in _RATES)})


def between(before: Settings, after: Settings, *, started_with: Settings) -> dict[str, list[str]]:
    """Return the keys that a reload took over, and the keys that differ from the start and need a restart."""
    taken = [*_named(before, after), *(key for key in _keys(before, after) if key in _TAKEN_OVER)]
    waiting = [key for key in _keys(started_with, after) if key not in _TAKEN_OVER]
    return {"taken_over": _bounded(taken), "needs_restart": _bounded(waiting)}


def _named(before: Settings, after: Settings) -> Iterator[str]:
    for section in _BY_NAME:
        old, new = getattr(before, section), getattr(after, section)
        for name in sorted(old.keys() | new.keys()):
            proofs = before.assertions.get(name), after.assertions.get(name)
            if old.get(name) != new.get(name) or (section == "clients" and proofs[0] != proofs[1]):
                yield key_path(section, name)


def _keys(before: Settings, after: Settings) -> Iterator[str]:
    for field in fields(Settings):
        if field.name not in _DERIVED and field.name not in _BY_NAME:
            yield from _differences(
                _KEYS.get(field.name, field.name), getattr(before, field.name), getattr(after, field.name)
            )


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if type(old) is not type(new) or not (is_dataclass(old) or isinstance(old, BaseModel)):
        yield path
        return
    names = [field.name for field in fields(old)] if is_dataclass(old) else list(type(old).model_fields)
    for name in names:
        if path == "keys" and name in ("max_lifetime", "region_lag"):
            continue  # of the audiences, and of the regions
        if getattr(old, name) != getattr(new, name):
            yield f"{path}.{name}"


def _bounded(keys: list[str]) -> list[str]:
    more = len(keys) - MAX_NAMED
    return [*keys[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])]
