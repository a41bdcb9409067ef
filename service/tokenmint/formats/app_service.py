"""Tokens of Azure App Service's custom authentication, which clients send to the site as `x-zumo-auth`.

https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out ("client-directed sign-in"
with custom authentication). The signature is HMAC-SHA-256 with the site's signing key. The site and this service share
this secret, which is never in the key set.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from tokenmint.base.config_values import Table
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import ClaimsTooLarge, ConfigurationError, FormatDenied
from tokenmint.base.files import without_mark
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.formats.format import Format, Kit, Reading
from tokenmint.formats.jwt import encode, without_id
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.secret import Secret, shown
from tokenmint.model.tokens import JsonValue

APP_SERVICE_TOKEN: Final = "urn:tokenmint:token-type:app-service"  # noqa: S105  # RFC 8693 has no name for it
VERSION: Final = "3"
"""The `ver` that App Service requires."""
OWN_CLAIMS: Final = frozenset({"ver"})
"""Claims that only this format sets, in addition to the reserved ones."""
MIN_HMAC_KEY: Final = 32  # bytes, RFC 7518 section 3.2


class AppServiceTable(Table):
    """`[audiences.NAME.app_service]`: tokens of Azure App Service's custom authentication."""

    key_file: str
    key_encoding: Literal["hex", "base64", "utf-8"]
    """The encoding of the key in the file. App Service's own WEBSITE_AUTH_SIGNING_KEY is hex."""


@dataclass(frozen=True, slots=True)
class AppServiceOptions:
    """The options of the table."""

    key: RenewedFiles[Secret] = field(compare=False, repr=False)
    """The site's signing key."""
    path: Path
    """The file with the key."""
    encoding: str
    """The encoding of the key in the file."""


class AppServiceFormat(Format):
    """Tokens for a site whose URL is the audience, signed with the site's key."""

    traits = FormatTraits(
        name="app_service", token_types=(APP_SERVICE_TOKEN,), signed_by_ring=False, title="tokens for App Service"
    )
    table = AppServiceTable

    def configure(self, table: AppServiceTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the site's key."""
        if not audience.name.startswith("https://"):
            reading.problem("app_service", "the audience has to be the URL of the site, which begins with https://")
        for claim in sorted(OWN_CLAIMS & {name for name, _ in audience.claims}):
            reading.problem(f"claims.{claim}", "is a claim that App Service sets: choose another name")
        path = reading.base / table.key_file
        key = reading.file("app_service.key_file", lambda name: site_key(name, path, table.key_encoding))
        if key is None:
            return self.traits
        return replace(self.traits, options=AppServiceOptions(key, path, table.key_encoding), files=(key,))

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:  # noqa: ARG002
        """Return the claims that a token for ``grant`` would have, without its id."""
        return dict(grant.claims) | without_id(_own_claims(grant, ""))

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a token for the site; the audience, which is the site's URL, is `iss` and `aud`.

        Raises:
            ClaimsTooLarge: the token would be longer than the audience allows.
            ValueError: a mapped claim has a reserved name. The configuration refuses such a mapping; this is a second
            check.
        """
        taken = [name for name in grant.claims if is_reserved(name) or name in OWN_CLAIMS]
        if taken:
            raise ValueError(f"reserved claims in a grant: {taken}")
        options = grant.format.options
        if not isinstance(options, AppServiceOptions):
            raise FormatDenied(detail="the site's key was not loaded")
        token_id = kit.token_id()
        claims = _own_claims(grant, token_id)
        unsigned = encode({"alg": "HS256", "typ": "JWT"}) + b"." + encode(dict(grant.claims) | claims)
        token = (
            unsigned + b"." + encode_segment(hmac.digest(options.key.value.reveal_bytes(), unsigned, hashlib.sha256))
        )
        if len(token) > grant.max_token_bytes:
            raise ClaimsTooLarge()
        return MintedToken(
            token=Secret(token),
            issued_token_type=grant.token_type,
            token_type="N_A",  # noqa: S106  # RFC 8693 section 2.2.1: no access token
            expires_at=grant.expires_at,
            scopes=(),
            key_id="",
            token_id=token_id,
            subject=grant.principal,
        )


FORMAT: Final = AppServiceFormat()


def _own_claims(grant: TokenGrant, token_id: str) -> dict[str, JsonValue]:
    return {
        "iss": grant.audience,
        "aud": grant.audience,
        "sub": grant.principal,
        "ver": VERSION,
        "iat": grant.issued_at,
        "nbf": grant.issued_at,
        "exp": grant.expires_at,
        "jti": token_id,
    }


def site_key(setting: str, path: Path, encoding: str) -> RenewedFiles[Secret]:
    """Return a site's key, which follows its file.

    Raises:
        ConfigurationError: begins with ``setting``, and quotes no text of the file.
    """

    def made(contents: Sequence[bytes]) -> Secret:
        try:
            text = without_mark(contents[0]).decode().strip()
        except UnicodeDecodeError:
            raise ConfigurationError(f"{setting}: {shown(path)} can't be read (not a text file)") from None
        if "-----BEGIN" in text:
            raise ConfigurationError(
                f"{setting}: is a PEM file: expected the site's secret, which only the site and this service have"
            )
        key = _decoded(text, encoding)
        if key is None:
            raise ConfigurationError(f"{setting}: is not {encoding}: see key_encoding")
        if len(key) < MIN_HMAC_KEY:
            raise ConfigurationError(
                f"{setting}: has {len(key)} bytes as {encoding}, and HS256 takes {MIN_HMAC_KEY} at least "
                "(RFC 7518 section 3.2): see key_encoding"
            )
        return Secret(key)

    return RenewedFiles([(setting, path)], made)


def _decoded(text: str, encoding: str) -> bytes | None:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return text.encode()
