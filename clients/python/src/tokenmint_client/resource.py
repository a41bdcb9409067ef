"""A protected resource that clients discover (RFC 9728), with tokens bound to a key (RFC 9449, RFC 8705)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tokenmint_client.dpop import (
    ALGORITHMS,
    Nonces,
    ReplayMemory,
    bound_to_certificate,
    bound_to_key,
    normal_url,
    read_proof,
)
from tokenmint_client.errors import TokenRejected
from tokenmint_client.loopback import is_loopback
from tokenmint_client.types import VerifiedToken

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
REPLAY_MEMORY: Final = 100_000  # proofs, of some 200 bytes each
METADATA_HEADERS: Final = {
    "Content-Type": "application/json",
    "Cache-Control": "max-age=3600",
    "Access-Control-Allow-Origin": "*",  # applications in a browser read it too
}
PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
}


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The name of a service among OAuth clients, and its rules for tokens that are bound to a key.

    Args:
        resource: its resource identifier: the URL that clients know the service by, without query and fragment. Its
            origin counts as that of all requests; their ``Host`` does not count.
        authorization_servers: issuers whose tokens it accepts. Usually tokenmint's issuer, or the server where users
            sign in and whose tokens a gateway exchanges.
        scopes_supported: scopes that clients may ask for.
        name: for people.
        documentation: a URL for developers.
        dpop: check DPoP proofs; without it tokens that are bound to a DPoP key are refused.
        require_dpop: refuse tokens that are not bound to a DPoP key.
        nonce_key: a secret of 32 bytes or more, the same in all replicas: proofs need a nonce of this service.
        certificates: announce that tokens may be bound to the client's certificate (RFC 8705 section 3.3).
        replay_memory: how many proofs are remembered, for a minute. Each process remembers its own.

    Raises:
        ValueError: the identifier is not such a URL, there is no authorization server, or an option does not fit.
    """

    resource: str
    authorization_servers: Sequence[str]
    scopes_supported: Sequence[str] = ()
    name: str = ""
    documentation: str = ""
    dpop: bool = True
    require_dpop: bool = False
    nonce_key: bytes | None = field(default=None, repr=False)
    certificates: bool = False
    replay_memory: int = REPLAY_MEMORY
    _origin: str = field(init=False, repr=False)
    _path: str = field(init=False, repr=False)
    _used: ReplayMemory = field(init=False, repr=False)
    _nonces: Nonces | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = normal_url(self.resource)
        if parts is None or "?" in self.resource or "#" in self.resource:
            raise ValueError("resource: expected an absolute URL without user, query and fragment")
        scheme, authority, _ = parts
        if scheme != "https" and not is_loopback(urlsplit(self.resource).hostname or ""):
            raise ValueError("resource: expected https (http is for loopback only)")
        if isinstance(self.authorization_servers, str) or not self.authorization_servers:
            raise ValueError("authorization_servers: expected a list of at least one issuer")
        if self.require_dpop and not self.dpop:
            raise ValueError("require_dpop: needs dpop")
        path = self.resource.split("://", 1)[1].partition("/")[2]
        object.__setattr__(self, "_origin", f"{scheme}://{authority}")
        object.__setattr__(self, "_path", WELL_KNOWN + (f"/{path}" if path else ""))
        object.__setattr__(self, "_used", ReplayMemory(self.replay_memory))
        object.__setattr__(self, "_nonces", None if self.nonce_key is None else Nonces(self.nonce_key))

    @property
    def metadata_path(self) -> str:
        """The path of the metadata: the well-known one in front of the identifier's own (RFC 9728 section 3.1)."""
        return self._path

    @property
    def metadata_url(self) -> str:
        """The same, as clients know it."""
        return self._origin + self._path

    def metadata(self) -> dict[str, Any]:
        """Return the metadata (RFC 9728 section 2)."""
        members = {
            "resource": self.resource,
            "authorization_servers": list(self.authorization_servers),
            "scopes_supported": list(self.scopes_supported),
            "bearer_methods_supported": ["header"],
            "resource_name": self.name,
            "resource_documentation": self.documentation,
            "dpop_signing_alg_values_supported": list(ALGORITHMS) if self.dpop else [],
            "dpop_bound_access_tokens_required": self.require_dpop,
            "tls_client_certificate_bound_access_tokens": self.certificates,
        }
        return {name: value for name, value in members.items() if value}

    def answer(self, method: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer under ``metadata_path``."""
        if method in ("GET", "HEAD"):
            return 200, METADATA_HEADERS, json.dumps(self.metadata()).encode()
        if method == "OPTIONS":
            return 204, PREFLIGHT_HEADERS, b""
        return 405, {"Allow": PREFLIGHT_HEADERS["Access-Control-Allow-Methods"]}, b""

    def url_of(self, path: str) -> str:
        """Return the URL of a request, as clients know it.

        Args:
            path: percent-encoded.
        """
        return self._origin + path

    def new_nonce(self, now: float) -> str | None:
        """Return the nonce that proofs need from now on, or None where they need none."""
        return None if self._nonces is None else self._nonces.new(now)

    def prove_key(self, request: "RequestProof", sent: str, thumbprint: Any, now: float) -> None:
        """Check the DPoP proof of a request.

        Raises:
            TokenRejected: PROOF_REJECTED, NONCE_REQUIRED, POSSESSION_NOT_PROVED.
            ReplayMemoryFull: there is no room to remember the proof.
        """
        if len(request.proofs) != 1:
            raise TokenRejected("PROOF_REJECTED", "the DPoP proof is missing, or there are several DPoP headers")
        url = self.url_of(request.path)
        proof = read_proof(request.proofs[0], method=request.method, url=url, token=sent, now=now)
        if not bound_to_key(thumbprint, proof.thumbprint):
            raise TokenRejected("POSSESSION_NOT_PROVED", "the DPoP proof is by another key than the token's")
        if self._nonces is not None and not self._nonces.accepts(proof.nonce, now):
            raise TokenRejected("NONCE_REQUIRED", "the DPoP proof needs the nonce of this answer")
        self._used.use(proof, now)


@dataclass(frozen=True, slots=True)
class RequestProof:
    """The proofs of a key that came with one request: the ``possession`` of a verifier.

    A framework without middleware here verifies by it: ``verifier.verify(token, possession=RequestProof(…))``.
    """

    resource: ProtectedResource
    is_dpop: bool
    """Whether the token came with the scheme ``DPoP``, and not ``Bearer``."""
    method: str
    path: str
    """Percent-encoded, without the query."""
    proofs: Sequence[str]
    """The values of the request's ``DPoP`` headers."""
    certificate: bytes | None = None
    """The certificate of the client's connection, in DER."""

    def check(self, sent: str, token: VerifiedToken, now: float) -> None:
        """Check that the sender holds the keys that the token is bound to.

        Raises:
            TokenRejected: PROOF_REJECTED, NONCE_REQUIRED, POSSESSION_NOT_PROVED.
            ReplayMemoryFull: there is no room to remember the proof.
        """
        bound = token.confirmation or {}
        by_key, by_certificate = "jkt" in bound, "x5t#S256" in bound
        if token.confirmation is not None and not by_key and not by_certificate:
            raise _unproved("the token is bound to a key in a way that is not checked here")
        if by_key and not self.resource.dpop:
            raise _unproved("the token is bound to a DPoP key, and proofs are not checked here")
        if by_key and not self.is_dpop:  # RFC 9449 section 7.2
            raise _unproved("the token is bound to a DPoP key, and has to be sent with the scheme DPoP")
        if self.is_dpop and not by_key:
            raise _unproved("the token is not bound to a DPoP key, and has to be sent with the scheme Bearer")
        if self.resource.require_dpop and not by_key:
            raise _unproved("the token is not bound to a DPoP key, which is required here")
        if by_certificate and not bound_to_certificate(bound["x5t#S256"], self.certificate):
            raise _unproved("the token is bound to another certificate than the connection's")
        if by_key:
            self.resource.prove_key(self, sent, bound["jkt"], now)


def _unproved(message: str) -> TokenRejected:
    return TokenRejected("POSSESSION_NOT_PROVED", message)
