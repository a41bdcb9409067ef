"""Tokens that commands take: from a file or standard input, since arguments are visible in process lists."""

import sys
from pathlib import Path
from typing import Final, Literal

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.output import plain
from tokenmint.model.secret import shown

Kind = Literal["id_token", "access_token", "jwt"]
KINDS: Final = "id_token, access_token or jwt"


def read_token(file: Path) -> str:
    """Return the token in a file; `-` is standard input. Raises ``ConfigurationError``: it holds none."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigurationError(f"{plain(shown(file))}: can't be read ({why})") from None
    if not text.strip():
        raise ConfigurationError(f"{file}: holds no token")
    return text.strip()


def token_type(kind: str) -> str:
    """Return the URN of a kind of token (RFC 8693 section 3)."""
    return f"urn:ietf:params:oauth:token-type:{kind}"
