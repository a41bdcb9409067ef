"""Firebase custom tokens, with which clients sign in to Firebase (`signInWithCustomToken`).

https://firebase.google.com/docs/auth/admin/create-custom-tokens. Firebase's SDK makes them in a thread, because it may
ask Google to sign. The limits are checked here: the SDK leaves some to the sign-in, where the cause would stay hidden.
"""

import base64
import json
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field

from tokenmint.base.config_values import Table
from tokenmint.base.errors import ClaimsTooLarge, FormatDenied, SignerUnavailable
from tokenmint.firebase.accounts import account_file
from tokenmint.formats.format import Format, Kit, Reading, has_one_issuer
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, OnMissingProfile, TokenGrant
from tokenmint.model.reserved_claims import is_reserved
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue

FIREBASE_CUSTOM_TOKEN: Final = "urn:tokenmint:token-type:firebase-custom-token"  # noqa: S105  # RFC 8693 has no name for it
PRINCIPAL: Final = "profile.principal"
LIFETIME: Final = 3600
"""The lifetime of every custom token in seconds."""
MAX_UID: Final = 128  # characters
MAX_CLAIMS: Final = 1000  # bytes of compact JSON in UTF-8
RESERVED: Final = frozenset(
    {"acr", "amr", "at_hash", "aud", "auth_time", "azp", "cnf", "c_hash", "exp", "firebase", "iat", "iss", "jti", "nbf",
     "nonce", "sub", "user_id"}
)  # fmt: skip
"""Names that Firebase refuses as custom claims. All of them are reserved here too."""


class FirebaseTable(Table):
    """`[audiences.NAME.firebase]`: Firebase custom tokens. With --dev, the emulator needs no service account."""

    project: Annotated[str, Field(pattern=r"^[a-z0-9-]{4,40}$")]
    service_account_file: str | None = None
    """A service account with its key, in the form of Google's console."""
    service_account: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    """The e-mail address of a service account whose key stays with Google."""
    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    uid: str = PRINCIPAL


@dataclass(frozen=True, slots=True)
class FirebaseOptions:
    """The options of the table, without the uid."""

    project: FirebaseProject
    tenant: str | None = None
    """The Identity Platform tenant of the user."""


class FirebaseFormat(Format):
    """Firebase custom tokens, for a project."""

    traits = FormatTraits(
        name="firebase",
        token_types=(FIREBASE_CUSTOM_TOKEN,),
        signed_by_ring=False,
        fixed_lifetime=LIFETIME,
        title="Firebase custom tokens",
        uid=PRINCIPAL,
    )
    table = FirebaseTable

    def configure(self, table: FirebaseTable, audience: Audience, reading: Reading) -> FormatTraits:
        """Read the project, its service account, and the source of the uid."""
        problem = reading.problem
        if table.service_account_file and table.service_account:
            problem("firebase.service_account", "excludes service_account_file: its key stays with Google")
        if not table.service_account_file and not table.service_account and not reading.development:
            problem(
                "firebase.service_account_file", "is required, or service_account (an e-mail address; IAM signs for it)"
            )
        if audience.on_missing_profile is not OnMissingProfile.DENY and table.uid == PRINCIPAL:
            created = audience.on_missing_profile is OnMissingProfile.CREATE
            reason = "that is created just in time (p_...)" if created else "without a profile"
            problem(
                "firebase.uid",
                f'a principal {reason} is not a user of Firebase: set on_missing_profile to "deny", or another uid',
            )
        if table.uid.startswith("assertion") and not has_one_issuer(audience):
            problem("firebase.uid", "is only unique within one provider: allow one, and no reexchange_from")
        account, path = None, None
        if table.service_account_file:
            path = reading.base / table.service_account_file
            account = reading.file(
                "firebase.service_account_file", lambda name: account_file(name, path, table.project)
            )
        project = FirebaseProject(table.project, account, path, table.service_account, reading.proxy)
        files = (account,) if account is not None else ()
        return replace(self.traits, uid=table.uid, options=FirebaseOptions(project, table.tenant), files=files)

    def check(self, grant: TokenGrant, kit: Kit) -> None:  # noqa: ARG002
        """Check that Firebase accepts a token for ``grant``. Raises as :func:`check_custom_token`."""
        check_custom_token(grant)

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:  # noqa: ARG002
        """Return the claims that a token for ``grant`` would have, without those that Firebase's SDK adds."""
        return {"uid": grant.uid, "claims": dict(grant.claims)}

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Return a custom token. Its lifetime begins by the SDK's clock, which is the machine's.

        Raises:
            SignerUnavailable: the service account can't sign: Google is out of reach, or refuses.
            FormatDenied, ClaimsTooLarge, ValueError: as :func:`check_custom_token`.
        """
        check_custom_token(grant)
        options, clients = grant.format.options, kit.firebase
        if clients is None or not isinstance(options, FirebaseOptions):
            raise FormatDenied(detail="Firebase's SDK is not loaded")

        def make() -> bytes:
            client = clients.client(options.project, options.tenant)
            token: bytes | str = client.create_custom_token(grant.uid, dict(grant.claims) or None)
            return token if isinstance(token, bytes) else token.encode()

        try:
            token = await clients.run(make)
        except Exception as error:  # noqa: BLE001  # from google.auth, requests or the SDK; their texts stay hidden
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


FORMAT: Final = FirebaseFormat()


def check_custom_token(grant: TokenGrant) -> None:
    """Check that Firebase accepts a token for ``grant``.

    Raises:
        FormatDenied: the uid is missing or too long.
        ClaimsTooLarge: the claims are larger than Firebase allows.
        ValueError: a mapped claim has a reserved name. The configuration refuses such a mapping; this is a second
        check.
    """
    if not 0 < len(grant.uid) <= MAX_UID:
        raise FormatDenied(f"Firebase's uid is 1 to {MAX_UID} characters: this principal has no such uid")
    reserved = [name for name in grant.claims if is_reserved(name) or name in RESERVED]
    if reserved:
        raise ValueError(f"reserved claims in a grant: {reserved}")
    text = json.dumps(dict(grant.claims), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_CLAIMS:
        raise ClaimsTooLarge(f"a Firebase custom token holds claims of {MAX_CLAIMS} bytes, and these have {size}")


def _expiry(token: bytes) -> int:
    payload = token.split(b".")[1]
    return int(json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))["exp"])
