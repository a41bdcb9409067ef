"""The spelling of configuration keys in messages."""

import re

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def key_path(*parts: str) -> str:
    """Return the path of a key as TOML spells it, e.g. `audiences."https://orders".clients`."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{_CONTROL.sub(_escaped, part)}"' for part in parts)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
