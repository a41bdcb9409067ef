"""Gets tokens from tokenmint, keeps them fresh, and verifies them offline.

Clients: :class:`Client`, :class:`AsyncClient`. Kept and refreshed: :class:`TokenSource`, :class:`AsyncTokenSource`.
For own calls: `grpc_auth`, `httpx_auth`, `requests_auth`. For a protected service: :class:`Verifier`,
:class:`AsyncVerifier`, :class:`ProtectedResource`, `grpc_server`, `asgi`, `django`, `mcp`. The stubs of the
whole API are in `v1`.
"""

from tokenmint_client.bearer import current_token
from tokenmint_client.cache import Entry, MemoryStore, SessionStore, TokenStore
from tokenmint_client.client import AsyncClient, Client
from tokenmint_client.credentials import (
    ClientAssertion,
    ClientCertificate,
    ClientSecret,
    Credential,
    PublicClient,
    WorkloadToken,
)
from tokenmint_client.dpop_key import DpopKey
from tokenmint_client.errors import (
    AccessDenied,
    CallerUnauthenticated,
    DeadlineExceeded,
    InvalidRequest,
    KeySetUnavailable,
    RateLimited,
    ReplayMemoryFull,
    RevocationsUnavailable,
    StatusListUnavailable,
    SubjectTokenRejected,
    TokenmintError,
    TokenRejected,
    Unavailable,
    VerificationError,
)
from tokenmint_client.resource import ProtectedResource, RequestProof
from tokenmint_client.revocations import Revocations
from tokenmint_client.source import AsyncTokenSource, TokenSource
from tokenmint_client.status_lists import StatusLists
from tokenmint_client.types import ExchangeOptions, Target, Token, VerifiedToken
from tokenmint_client.verifier import AsyncVerifier, Verifier

__all__ = [
    "Client", "AsyncClient", "ExchangeOptions", "Token", "Target",
    "Credential", "ClientSecret", "ClientAssertion", "ClientCertificate", "WorkloadToken", "PublicClient",
    "TokenSource", "AsyncTokenSource", "TokenStore", "Entry", "MemoryStore", "SessionStore", "DpopKey",
    "Verifier", "AsyncVerifier", "VerifiedToken", "Revocations", "StatusLists", "current_token",
    "ProtectedResource", "RequestProof",
    "TokenmintError", "InvalidRequest", "SubjectTokenRejected", "CallerUnauthenticated", "AccessDenied", "RateLimited",
    "Unavailable", "DeadlineExceeded", "VerificationError", "TokenRejected", "KeySetUnavailable",
    "ReplayMemoryFull", "RevocationsUnavailable", "StatusListUnavailable",
]  # fmt: skip
