"""The answer to a request without a good token, in any web framework (RFC 6750 section 3, RFC 9449 section 7.1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmint_client.bearer import NO_TOKEN, missing_scopes
from tokenmint_client.dpop import ALGORITHMS
from tokenmint_client.errors import TokenRejected, VerificationError
from tokenmint_client.resource import ProtectedResource, RequestProof
from tokenmint_client.types import VerifiedToken

RETRY_AFTER: Final = 1  # seconds after which a verifier asks for its keys again

_SPACES: Final = " \t"  # RFC 9110 section 5.6.3; no other space of Unicode

UNAVAILABLE: Final = "tokens can't be verified at the moment: try again"


class Refusal(Exception):
    """A request is not served.

    Attributes:
        status: of the answer.
        headers: of the answer.
        message: for the caller; holds no token, no secret and no address of this service's network.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def unavailable() -> Refusal:
    """Return the answer for a token that could be neither accepted nor refused."""
    return Refusal(503, UNAVAILABLE, {"Retry-After": str(RETRY_AFTER)})


@dataclass(frozen=True, slots=True)
class Presented:
    """The token of a request, as sent."""

    token: str
    is_dpop: bool
    """Whether it came with the scheme ``DPoP``, and not ``Bearer``."""


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of a protected service, and its answers to requests that break them."""

    scopes: Sequence[str]
    """The scopes that each request needs."""
    resource: ProtectedResource | None = None

    def presented(self, values: Iterable[str]) -> Presented:
        """Return the token of the ``Authorization`` headers of a request.

        A token in the query is not looked at (RFC 9700 section 4.3.2). Gateways join repeated headers by a comma, which
        no token has in it.

        Raises:
            Refusal: there is no token, or there are several headers.
        """
        sent = list(values)
        scheme, _, token = sent[0].strip(_SPACES).partition(" ") if sent else ("", "", "")
        scheme, token = scheme.lower(), token.strip(_SPACES)
        is_dpop = scheme == "dpop" and self._takes_dpop
        known = is_dpop or scheme == "bearer"
        if len(sent) > 1 or (scheme in ("bearer", "dpop") and "," in token):
            message = "there is more than one Authorization header"
            raise Refusal(400, message, self._challenges(is_dpop, "invalid_request", message))
        if not known or not token:
            raise Refusal(401, NO_TOKEN, self._challenges(False, "", ""))
        return Presented(token, is_dpop)

    def possession(
        self, sent: Presented, method: str, path: str, proofs: Iterable[str], certificate: bytes | None
    ) -> RequestProof | None:
        """Return the check of the key that a token is bound to, or None where bound tokens are refused."""
        if self.resource is None:
            return None
        return RequestProof(self.resource, sent.is_dpop, method, path, list(proofs), certificate)

    def refused(self, error: VerificationError, sent: Presented, now: float) -> Refusal:
        """Return the answer for a token that a verifier did not accept."""
        if not isinstance(error, TokenRejected):
            return unavailable()
        names = {"PROOF_REJECTED": "invalid_dpop_proof", "NONCE_REQUIRED": "use_dpop_nonce"}
        headers = self._challenges(sent.is_dpop, names.get(error.reason, "invalid_token"), error.message)
        nonce = self.resource.new_nonce(now) if self.resource is not None and sent.is_dpop else None
        return Refusal(401, error.message, headers if nonce is None else {**headers, "DPoP-Nonce": nonce})

    def require(self, token: VerifiedToken, sent: Presented) -> None:
        """Compare a token's scopes with those that a request needs.

        Raises:
            Refusal: some are missing.
        """
        missing = missing_scopes(token, self.scopes)
        if missing:
            message = f"missing scopes: {' '.join(missing)}"
            raise Refusal(403, message, self._challenges(sent.is_dpop, "insufficient_scope", message))

    @property
    def _takes_dpop(self) -> bool:
        return self.resource is not None and self.resource.dpop

    def _challenges(self, is_dpop: bool, error: str, description: str) -> dict[str, str]:
        """Return ``WWW-Authenticate``: the schemes that are accepted; of a request with DPoP this one alone."""
        members = {"error": error, "error_description": description} if error else {}
        announced = self.resource is not None and error != "invalid_request"
        if self.scopes and (announced or error == "insufficient_scope"):
            members["scope"] = " ".join(self.scopes)
        if self.resource is not None:
            members["resource_metadata"] = self.resource.metadata_url
        required = self.resource is not None and self.resource.require_dpop
        schemes = ["DPoP"] if is_dpop or required else ["Bearer"]
        if not is_dpop and not required and self._takes_dpop:
            schemes.append("DPoP")
        return {"WWW-Authenticate": ", ".join(self._challenge(scheme, members, schemes) for scheme in schemes)}

    @staticmethod
    def _challenge(scheme: str, members: dict[str, str], schemes: list[str]) -> str:
        if scheme == "DPoP":
            algorithms = {"algs": " ".join(ALGORITHMS)}
            members = {**members, **algorithms} if schemes[0] == "DPoP" else algorithms
        return " ".join([scheme, *filter(None, [", ".join(f'{name}="{value}"' for name, value in members.items())])])
