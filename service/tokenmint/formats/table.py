"""Which function mints which format. A format is a function; this is the table."""

from collections.abc import Callable
from typing import Final

from tokenmint.firebase.clients import FirebaseClients
from tokenmint.formats.app_service import app_service_token
from tokenmint.formats.firebase import check_custom_token, custom_token
from tokenmint.formats.jwt import encode_segment
from tokenmint.formats.reference import reference_token
from tokenmint.issued.store import IssuedStore
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import AppServiceFormat, FirebaseFormat, ReferenceFormat, TokenGrant

_TOKEN_ID_BYTES: Final = 16


class Formats:
    """Mints what is no JWT of ours.

    Args:
        issuer: the `iss` of what handles stand for.
        issued: where handles are kept.
        firebase: the clients of Firebase's SDK.
        entropy: returns that many random bytes.
    """

    def __init__(
        self, *, issuer: str, issued: IssuedStore, firebase: FirebaseClients, entropy: Callable[[int], bytes]
    ) -> None:
        self._issuer = issuer
        self._issued = issued
        self._firebase = firebase
        self._entropy = entropy

    def check(self, grant: TokenGrant) -> None:
        """Raise what :meth:`mint` would because the grant does not fit its format."""
        if isinstance(grant.format, FirebaseFormat):
            check_custom_token(grant)

    async def mint(self, grant: TokenGrant) -> MintedToken:
        """Mint. Raises as the function of the format."""
        match grant.format:
            case FirebaseFormat():
                return await custom_token(grant, grant.format, self._firebase)
            case AppServiceFormat():
                token_id = encode_segment(self._entropy(_TOKEN_ID_BYTES)).decode()
                return app_service_token(grant, grant.format, token_id=token_id)
            case ReferenceFormat():
                return await reference_token(
                    grant, grant.format, issuer=self._issuer, issued=self._issued, entropy=self._entropy
                )
            case None:
                raise ValueError("a JWT is the minter's")
