"""The credentials of this client at tokenmint: one class for each kind."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import jwt

Metadata = tuple[tuple[str, str], ...]

CLIENT_ID: Final = "tokenmint-client-id"
CLIENT_SECRET: Final = "tokenmint-client-secret"  # noqa: S105  # the name of the metadata key
CLIENT_ASSERTION: Final = "tokenmint-client-assertion"
WORKLOAD_TOKEN: Final = "tokenmint-workload-token"  # noqa: S105  # as above
ASSERTION_LIFETIME: Final = 60  # seconds; tokenmint takes at most 300


class Credential(Protocol):
    """The credential that proves this client."""

    def metadata(self) -> Metadata:
        """Return what one attempt of a call carries. Called for each attempt, in any thread; may read a file."""
        ...


class ClientSecret:
    """A secret that `tokenmint clients new-secret` made.

    Args:
        client_id: the client's name in tokenmint's configuration.
        secret: the secret, or a function that returns the current one.
    """

    def __init__(self, client_id: str, secret: str | Callable[[], str]) -> None:
        self._client_id = client_id
        self._secret = secret

    def metadata(self) -> Metadata:
        secret = self._secret if isinstance(self._secret, str) else self._secret()
        return (CLIENT_ID, self._client_id), (CLIENT_SECRET, secret)


class ClientAssertion:
    """A private key of this client's own (RFC 7523): each attempt carries a fresh assertion, which counts once.

    Args:
        client_id: the client's name in tokenmint's configuration.
        key: the private key, in PEM or as an object of `cryptography`.
        key_id: the ``kid`` under which tokenmint knows its public half.
        audience: tokenmint's issuer.
        algorithm: what the key signs with.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        client_id: str,
        key: Any,
        *,
        key_id: str,
        audience: str,
        algorithm: str = "ES256",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client_id = client_id
        self._key = jwt.get_algorithm_by_name(algorithm).prepare_key(key)
        self._headers = {"kid": key_id}
        self._audience = audience
        self._algorithm = algorithm
        self._clock = clock

    def metadata(self) -> Metadata:
        now = int(self._clock())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._audience,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
            "jti": str(uuid.uuid4()),
        }
        assertion = jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers)
        return (CLIENT_ID, self._client_id), (CLIENT_ASSERTION, assertion)


class WorkloadToken:
    """A token of the platform that this runs on (Kubernetes, SPIFFE, a CI).

    Args:
        token: the path of a file that the platform keeps fresh, read for each attempt, or a function that returns the
            current token.
        client_id: the client's name in tokenmint's configuration. Default: the one that the workload is bound to.
    """

    def __init__(self, token: str | Path | Callable[[], str], client_id: str | None = None) -> None:
        self._token = token
        self._client_id = client_id

    def metadata(self) -> Metadata:
        token = self._token() if callable(self._token) else Path(self._token).read_text().strip()
        named = ((CLIENT_ID, self._client_id),) if self._client_id is not None else ()
        return (*named, (WORKLOAD_TOKEN, token))


class ClientCertificate:
    """The certificate of a mutual TLS connection: a credential, or what another one is sent over.

    Args:
        cert_file: the certificate and what leads to its authority, in PEM.
        key_file: its key, in PEM.
    """

    def __init__(self, cert_file: str | Path, key_file: str | Path) -> None:
        self.cert_file = Path(cert_file)
        self.key_file = Path(key_file)

    def metadata(self) -> Metadata:
        return ()


class PublicClient:
    """Nothing but a name, for audiences that take public clients.

    Args:
        client_id: the client's name in tokenmint's configuration.
    """

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id

    def metadata(self) -> Metadata:
        return ((CLIENT_ID, self._client_id),)
