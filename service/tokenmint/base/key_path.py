"""How messages name a key of the configuration."""

import re


def key_path(*parts: str) -> str:
    """Return the path of a key as TOML spells it, e.g. `audiences."https://orders".clients`."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in parts)
