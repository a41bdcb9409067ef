"""The answer to a request without a good token, in any web framework (RFC 6750 section 3)."""

from collections.abc import Iterable, Sequence
from typing import Final

from tokenmint_client.bearer import NO_TOKEN, missing_scopes
from tokenmint_client.errors import TokenRejected, VerificationError
from tokenmint_client.types import VerifiedToken

RETRY_AFTER: Final = 10  # seconds after which a verifier asks for its keys again

UNAVAILABLE: Final = "tokens can't be verified at the moment: try again"


class Refusal(Exception):
    """A request is not served.

    Attributes:
        status: of the answer.
        headers: of the answer.
        message: for the caller; holds no token, no secret and no address of this service's network.
    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def presented(values: Iterable[str]) -> str:
    """Return the token of the ``Authorization`` headers of a request, as sent.

    A token in the query is not looked at (RFC 9700 section 4.3.2). Gateways join repeated headers by a comma, which no
    token has in it.

    Raises:
        Refusal: there is no token, or there are several headers.
    """
    sent = list(values)
    scheme, _, token = sent[0].strip().partition(" ") if sent else ("", "", "")
    token = token.strip()
    if len(sent) > 1 or (scheme.lower() == "bearer" and "," in token):
        raise _challenge(400, "invalid_request", "there is more than one Authorization header")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(401, NO_TOKEN, WWW_Authenticate="Bearer")
    return token


def refused(error: VerificationError) -> Refusal:
    """Return the answer for a token that a verifier did not accept."""
    if isinstance(error, TokenRejected):
        return _challenge(401, "invalid_token", error.message)
    return Refusal(503, UNAVAILABLE, Retry_After=str(RETRY_AFTER))


def require(token: VerifiedToken, scopes: Sequence[str]) -> None:
    """Compare a token's scopes with those that a request needs.

    Raises:
        Refusal: some are missing.
    """
    missing = missing_scopes(token, scopes)
    if missing:
        raise _challenge(403, "insufficient_scope", f"missing scopes: {' '.join(missing)}", scope=" ".join(scopes))


def _challenge(status: int, error: str, description: str, **more: str) -> Refusal:
    members = {"error": error, "error_description": description, **more}
    challenge = ", ".join(f'{name}="{value}"' for name, value in members.items())
    return Refusal(status, description, WWW_Authenticate=f"Bearer {challenge}")
