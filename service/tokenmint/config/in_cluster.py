"""A provider that runs around this process: issuer and keys from files that the platform mounts into every pod."""

from pathlib import Path

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_text
from tokenmint.base.token_errors import MalformedToken
from tokenmint.config.entries import InCluster
from tokenmint.config.proxies import NONE
from tokenmint.model.secret import Secret
from tokenmint.verification.jws import parse_compact


def in_cluster(place: InCluster) -> dict[str, object]:
    """Return the platform's values for keys of a provider's table.

    The issuer is the `iss` of the pod's own token: the kubelet has mounted it, so it is trustworthy.

    Raises:
        ConfigurationError: there is no such token.
    """
    directory = Path(place.directory)
    token_file = directory / "token"
    try:
        issuer = parse_compact(Secret(read_text(token_file).strip())).issuer
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigurationError(f"{token_file} can't be read ({why})") from None
    except MalformedToken:
        raise ConfigurationError(f"{token_file} holds no token with an issuer") from None
    return {
        "issuer": issuer,
        "jwks_url": place.jwks_url,
        "ca_file": str(directory / "ca.crt"),
        "bearer_token_file": str(token_file),
        "allow_private": True,
        "proxy": NONE,
    }
