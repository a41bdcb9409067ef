"""Firebase custom tokens: what a client signs in to Firebase with (`signInWithCustomToken`).

https://firebase.google.com/docs/auth/admin/create-custom-tokens. Made by Firebase's SDK, in a thread, since it may ask
Google to sign. The limits are checked here, because the SDK leaves some of them to the sign-in, where nobody sees why.
"""

import base64
import json
from typing import Final

from tokenmint.base.errors import ClaimsTooLarge, FormatDenied, SignerUnavailable
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import FirebaseFormat, TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.secret import Secret

LIFETIME: Final = 3600
"""Seconds that every custom token lives."""
MAX_UID: Final = 128  # characters
MAX_CLAIMS: Final = 1000  # bytes of compact JSON in UTF-8
RESERVED: Final = frozenset(
    {"acr", "amr", "at_hash", "aud", "auth_time", "azp", "cnf", "c_hash", "exp", "firebase", "iat", "iss", "jti", "nbf",
     "nonce", "sub", "user_id"}
)  # fmt: skip
"""Names that Firebase refuses as custom claims. All of them are reserved here too."""


def check_custom_token(grant: TokenGrant) -> None:
    """Say whether Firebase would take what ``grant`` describes.

    Raises:
        FormatDenied: the uid is not one.
        ClaimsTooLarge: the claims are more than a custom token may have.
        ValueError: a mapped claim has a reserved name; the configuration is refused for it, and this is the last look.
    """
    if not 0 < len(grant.uid) <= MAX_UID:
        raise FormatDenied(f"Firebase's uid is 1 to {MAX_UID} characters: this principal has none that fits")
    reserved = [name for name in grant.claims if is_reserved(name) or name in RESERVED]
    if reserved:
        raise ValueError(f"reserved claims in a grant: {reserved}")
    text = json.dumps(dict(grant.claims), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_CLAIMS:
        raise ClaimsTooLarge(f"a Firebase custom token holds claims of {MAX_CLAIMS} bytes, and these have {size}")


async def custom_token(grant: TokenGrant, form: FirebaseFormat, clients: FirebaseClients) -> MintedToken:
    """Return a custom token. Its hour begins by the SDK's clock, which is the machine's.

    Raises:
        SignerUnavailable: the service account can't sign: Google is out of reach, or does not let it.
        FormatDenied, ClaimsTooLarge, ValueError: as :func:`check_custom_token`.
    """
    check_custom_token(grant)

    def make() -> bytes:
        client = clients.client(form.project, form.tenant)
        token: bytes | str = client.create_custom_token(grant.uid, dict(grant.claims) or None)
        return token if isinstance(token, bytes) else token.encode()

    try:
        token = await clients.run(make)
    except Exception as error:  # noqa: BLE001  # of google.auth, requests and the SDK, whose texts are not to be shown
        detail = f"Firebase's SDK: {type(error).__name__}"
        raise SignerUnavailable("Firebase's service account can't sign now: retry later", detail=detail) from None
    return MintedToken(
        token=Secret(token),
        issued_token_type=grant.token_type,
        token_type="N_A",  # noqa: S106  # RFC 8693 section 2.2.1: no access token
        expires_at=_expiry(token),
        scopes=(),
        key_id="",
        token_id="",
        subject=grant.principal,
    )


def _expiry(token: bytes) -> int:
    payload = token.split(b".")[1]
    return int(json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))["exp"])
