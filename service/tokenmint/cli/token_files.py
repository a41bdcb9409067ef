"""Tokens that commands take: from a file or standard input, since arguments are visible in process lists."""

import sys
from pathlib import Path
from typing import Final, Literal

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.output import plain
from tokenmint.model.secret import shown
from tokenmint.model.tokens import JWT, JWT_GRANT

Kind = Literal["id_token", "access_token", "jwt", "id_jag", "jwt_grant", "txn_token"]
"""The kinds of subject tokens."""
KINDS: Final = "id_token, access_token, jwt, id_jag, jwt_grant or txn_token"
ActorKind = Literal["id_token", "access_token", "jwt"]
"""The kinds of actor tokens."""
ACTOR_KINDS: Final = "The kind of the actor token: id_token, access_token or jwt."
ProvidersKind = Literal["id_token", "access_token", "jwt", "id_jag", "jwt_grant"]
"""The kinds of tokens that a provider may issue."""
PROVIDERS_KINDS: Final = "id_token, access_token, jwt, id_jag or jwt_grant"


def read_token(file: Path) -> str:
    """Return the token in a file; `-` is standard input. Raises ``ConfigurationError``: it holds none."""
    typed = str(file) == "-"
    if typed and sys.stdin.isatty():
        typer.echo("reading the token from standard input: paste it, then Ctrl-D; --token-file names a file", err=True)
    try:
        text = sys.stdin.read() if typed else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigurationError(f"{plain(shown(file))}: can't be read ({why})") from None
    text = text.removeprefix("\ufeff").strip()
    if not text:
        place = "standard input" if typed else plain(shown(file))
        raise ConfigurationError(f"{place}: holds no token: pipe one in, or name its file with --token-file")
    return text


def requested_type(kind: str) -> str:
    """Return the URN by which a kind of token is requested: the type of a minted JWT authorization grant is JWT."""
    return JWT if kind == "jwt_grant" else token_type(kind)


def token_type(kind: str) -> str:
    """Return the URN of a kind of token (RFC 8693 section 3)."""
    if kind == "jwt_grant":
        return JWT_GRANT
    return f"urn:ietf:params:oauth:token-type:{kind.replace('id_jag', 'id-jag')}"
