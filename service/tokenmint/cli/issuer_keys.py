"""The keys of an issuer, for `tokenmint token verify`."""

from typing import Any

import typer

from tokenmint.cli.output import plain


def key_of(token: str, url: str, timeout: float) -> Any:
    """Return the token's key from the set at ``url``; ``timeout`` in seconds.

    Raises ``PyJWKClientConnectionError`` (the set can't be fetched, or is none) and other errors of PyJWT.
    """
    import jwt

    jwt.get_unverified_header(token)  # refuses a malformed token before any fetch
    try:
        return jwt.PyJWKClient(url, timeout=timeout).get_signing_key_from_jwt(token)
    except jwt.PyJWKClientConnectionError as error:
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: {plain(str(error.__cause__ or error))}") from None
    except (OSError, ValueError, RecursionError):
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: is not a key set") from None


def key_set_url(issuer: str, timeout: float) -> str:
    """Return the key set's URL from the issuer's discovery document (OpenID Connect Discovery section 4).

    Raises ``PyJWKClientConnectionError`` (the document can't be fetched, or is none), ``InvalidIssuerError``.
    """
    import httpx2
    import jwt

    if not issuer.startswith(("https://", "http://")):
        raise typer.BadParameter("expected a URL with https://, or http:// on loopback", param_hint="--issuer")
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        document = httpx2.get(url, timeout=timeout).raise_for_status().json()
        found = str(document["jwks_uri"])
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = plain(str(error).partition("\n")[0] or type(error).__name__)
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: {why}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: is not a discovery document") from None
    if document.get("issuer") != issuer:
        raise jwt.InvalidIssuerError("the discovery document has another issuer")
    return found
